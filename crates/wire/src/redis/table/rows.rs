//! The rows of the command table: Redis 7.0 to 8, with the modules that Redis 8 brings along.
//!
//! Written from the commands' documentation; a test compares classes and positions with what the installed
//! server says in `COMMAND`. A row is wrong or missing rather than guessed: what is not here has no class.

use super::Access::{Neither, Reads, Writes};
use super::Keys::{Channels, Counted, GeoStore, Migrate, None, Range, Sort, Streams};
use super::{Access, Keys};
use crate::stream::OpClass::{
    self, Admin, Authenticate, Create, Delete, Execute, Meta, Modify, Read, Schema,
};

/// Commands that share all but their name. A name with a sub-command is written `CLIENT|SETNAME`.
pub(super) struct Group {
    pub(super) class: OpClass,
    pub(super) access: Access,
    pub(super) keys: Keys,
    pub(super) names: &'static str,
}

const fn of(class: OpClass, access: Access, keys: Keys, names: &'static str) -> Group {
    Group { class, access, keys, names }
}

const ONE: Keys = Range(1, 1, 1);
const TWO: Keys = Range(1, 2, 1);
const ALL: Keys = Range(1, -1, 1);
const PAIRS: Keys = Range(1, -1, 2);
const TIMED: Keys = Range(1, -2, 1);
const SECOND: Keys = Range(2, 2, 1);

pub(super) const GROUPS: &[Group] = &[
    // strings, bitmaps, keys
    of(
        Read,
        Reads,
        ONE,
        "GET STRLEN GETRANGE SUBSTR GETBIT BITCOUNT BITPOS BITFIELD_RO DUMP TTL PTTL TYPE \
        EXPIRETIME PEXPIRETIME DIGEST",
    ),
    of(Read, Reads, ALL, "MGET EXISTS TOUCH PFCOUNT"),
    of(Read, Reads, TWO, "LCS"),
    of(Read, Reads, None, "KEYS SCAN RANDOMKEY DBSIZE"),
    of(Read, Reads, SECOND, "OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT MEMORY|USAGE"),
    of(
        Modify,
        Writes,
        ONE,
        "SET SETEX PSETEX GETSET APPEND SETRANGE SETBIT BITFIELD INCR DECR INCRBY DECRBY \
        INCRBYFLOAT GETEX EXPIRE EXPIREAT PEXPIRE PEXPIREAT PERSIST MOVE",
    ),
    of(Modify, Writes, PAIRS, "MSET"),
    of(Modify, Writes, Counted { also: 0, at: 1, step: 2 }, "MSETEX"),
    of(Modify, Writes, Range(2, -1, 1), "BITOP"),
    of(Modify, Writes, TWO, "RENAME RENAMENX"),
    of(Modify, Writes, Migrate, "MIGRATE"),
    of(Create, Writes, ONE, "SETNX RESTORE RESTORE-ASKING PFADD"),
    of(Create, Writes, PAIRS, "MSETNX"),
    of(Create, Writes, TWO, "COPY"),
    of(Modify, Writes, ALL, "PFMERGE"),
    of(Delete, Writes, ONE, "GETDEL DELEX"),
    of(Delete, Writes, ALL, "DEL UNLINK"),
    of(Delete, Writes, None, "FLUSHALL FLUSHDB"),
    of(Modify, Writes, Sort, "SORT"),
    of(Read, Reads, Sort, "SORT_RO"),
    // hashes
    of(
        Read,
        Reads,
        ONE,
        "HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HRANDFIELD HSCAN HTTL HPTTL \
        HEXPIRETIME HPEXPIRETIME",
    ),
    of(
        Modify,
        Writes,
        ONE,
        "HSET HMSET HINCRBY HINCRBYFLOAT HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST \
        HGETEX HSETEX",
    ),
    of(Create, Writes, ONE, "HSETNX"),
    of(Delete, Writes, ONE, "HDEL HGETDEL"),
    // lists
    of(Read, Reads, ONE, "LRANGE LINDEX LLEN LPOS"),
    of(Create, Writes, ONE, "LPUSH RPUSH LPUSHX RPUSHX LINSERT"),
    of(Modify, Writes, ONE, "LSET"),
    of(Delete, Writes, ONE, "LPOP RPOP LREM LTRIM"),
    of(Delete, Writes, TIMED, "BLPOP BRPOP BZPOPMIN BZPOPMAX"),
    of(Modify, Writes, TWO, "LMOVE BLMOVE RPOPLPUSH BRPOPLPUSH SMOVE"),
    of(Delete, Writes, Counted { also: 0, at: 1, step: 1 }, "LMPOP ZMPOP"),
    of(Delete, Writes, Counted { also: 0, at: 2, step: 1 }, "BLMPOP BZMPOP"),
    // sets
    of(Read, Reads, ONE, "SMEMBERS SISMEMBER SMISMEMBER SCARD SRANDMEMBER SSCAN"),
    of(Read, Reads, ALL, "SINTER SUNION SDIFF"),
    of(Read, Reads, Counted { also: 0, at: 1, step: 1 }, "SINTERCARD ZINTERCARD ZUNION ZINTER ZDIFF"),
    of(Create, Writes, ONE, "SADD"),
    of(Delete, Writes, ONE, "SREM SPOP"),
    of(Modify, Writes, ALL, "SINTERSTORE SUNIONSTORE SDIFFSTORE"),
    // sorted sets, places
    of(
        Read,
        Reads,
        ONE,
        "ZSCORE ZMSCORE ZRANK ZREVRANK ZCARD ZCOUNT ZLEXCOUNT ZRANGE ZRANGEBYLEX \
        ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZRANDMEMBER ZSCAN GEODIST GEOHASH GEOPOS \
        GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO",
    ),
    of(Modify, Writes, ONE, "ZADD ZINCRBY GEOADD"),
    of(Delete, Writes, ONE, "ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZPOPMIN ZPOPMAX"),
    of(Modify, Writes, TWO, "ZRANGESTORE GEOSEARCHSTORE"),
    of(Modify, Writes, Counted { also: 1, at: 2, step: 1 }, "ZUNIONSTORE ZINTERSTORE ZDIFFSTORE"),
    of(Modify, Writes, GeoStore { from: 6 }, "GEORADIUS"),
    of(Modify, Writes, GeoStore { from: 5 }, "GEORADIUSBYMEMBER"),
    // streams
    of(Read, Reads, ONE, "XRANGE XREVRANGE XLEN XPENDING"),
    of(Read, Reads, SECOND, "XINFO|STREAM XINFO|GROUPS XINFO|CONSUMERS"),
    of(Read, Reads, Streams { from: 1 }, "XREAD"),
    of(Modify, Writes, Streams { from: 4 }, "XREADGROUP"),
    of(Create, Writes, ONE, "XADD"),
    of(Modify, Writes, ONE, "XACK XCLAIM XAUTOCLAIM XSETID XCFGSET"),
    of(Delete, Writes, ONE, "XDEL XTRIM XDELEX XACKDEL"),
    of(Create, Writes, SECOND, "XGROUP|CREATE XGROUP|CREATECONSUMER"),
    of(Modify, Writes, SECOND, "XGROUP|SETID"),
    of(Delete, Writes, SECOND, "XGROUP|DESTROY XGROUP|DELCONSUMER"),
    // pub/sub
    of(Read, Neither, Channels(1, -1), "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE"),
    of(Meta, Neither, Channels(1, -1), "UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE"),
    of(Create, Neither, Channels(1, 1), "PUBLISH SPUBLISH"),
    of(
        Meta,
        Neither,
        None,
        "PUBSUB|CHANNELS PUBSUB|NUMPAT PUBSUB|NUMSUB PUBSUB|SHARDCHANNELS \
        PUBSUB|SHARDNUMSUB PUBSUB|HELP",
    ),
    // scripts and functions
    of(Execute, Neither, Counted { also: 0, at: 2, step: 1 }, "EVAL EVALSHA FCALL"),
    of(Execute, Reads, Counted { also: 0, at: 2, step: 1 }, "EVAL_RO EVALSHA_RO FCALL_RO"),
    of(Schema, Neither, None, "SCRIPT|LOAD SCRIPT|FLUSH"),
    of(Schema, Writes, None, "FUNCTION|LOAD FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|RESTORE"),
    of(Admin, Neither, None, "SCRIPT|KILL SCRIPT|DEBUG FUNCTION|KILL"),
    of(
        Meta,
        Neither,
        None,
        "SCRIPT|EXISTS SCRIPT|HELP FUNCTION|LIST FUNCTION|STATS FUNCTION|HELP \
        FUNCTION|DUMP",
    ),
    // connection and transactions
    of(Authenticate, Neither, None, "AUTH"),
    of(
        Meta,
        Neither,
        None,
        "HELLO PING ECHO QUIT RESET SELECT ASKING READONLY READWRITE MULTI EXEC DISCARD \
        UNWATCH WAIT WAITAOF TIME ROLE LASTSAVE INFO",
    ),
    of(Meta, Neither, ALL, "WATCH"),
    of(Meta, Reads, None, "LOLWUT"),
    of(
        Meta,
        Neither,
        None,
        "CLIENT|CACHING CLIENT|GETNAME CLIENT|GETREDIR CLIENT|HELP CLIENT|ID CLIENT|INFO \
        CLIENT|REPLY CLIENT|SETNAME CLIENT|SETINFO CLIENT|TRACKING CLIENT|TRACKINGINFO CLIENT|NO-TOUCH",
    ),
    of(
        Admin,
        Neither,
        None,
        "CLIENT|KILL CLIENT|LIST CLIENT|NO-EVICT CLIENT|PAUSE CLIENT|UNPAUSE \
        CLIENT|UNBLOCK",
    ),
    of(
        Meta,
        Neither,
        None,
        "COMMAND COMMAND|COUNT COMMAND|DOCS COMMAND|GETKEYS COMMAND|GETKEYSANDFLAGS \
        COMMAND|HELP COMMAND|INFO COMMAND|LIST OBJECT|HELP MEMORY|HELP XGROUP|HELP XINFO|HELP CONFIG|HELP \
        ACL|HELP ACL|CAT ACL|WHOAMI ACL|GENPASS CLUSTER|HELP LATENCY|HELP MODULE|HELP SLOWLOG|HELP \
        MEMORY|DOCTOR MEMORY|STATS MEMORY|MALLOC-STATS",
    ),
    // the server itself
    of(
        Admin,
        Neither,
        None,
        "ACL|DELUSER ACL|DRYRUN ACL|GETUSER ACL|LIST ACL|LOAD ACL|LOG ACL|SAVE \
        ACL|SETUSER ACL|USERS BGREWRITEAOF BGSAVE CONFIG|GET CONFIG|RESETSTAT CONFIG|REWRITE CONFIG|SET DEBUG \
        FAILOVER LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY LATENCY|LATEST LATENCY|RESET \
        MEMORY|PURGE MODULE|LIST MODULE|LOAD MODULE|LOADEX MODULE|UNLOAD MONITOR PFSELFTEST PSYNC REPLCONF \
        REPLICAOF SAVE SHUTDOWN SLAVEOF SLOWLOG|GET SLOWLOG|LEN SLOWLOG|RESET SYNC",
    ),
    of(Admin, Writes, None, "SWAPDB"),
    of(Admin, Writes, SECOND, "PFDEBUG"),
    of(
        Meta,
        Neither,
        None,
        "CLUSTER|COUNTKEYSINSLOT CLUSTER|INFO CLUSTER|KEYSLOT CLUSTER|LINKS CLUSTER|MYID \
        CLUSTER|MYSHARDID CLUSTER|NODES CLUSTER|SHARDS CLUSTER|SLOTS CLUSTER|REPLICAS CLUSTER|SLAVES \
        CLUSTER|COUNT-FAILURE-REPORTS CLUSTER|SLOT-STATS",
    ),
    of(Read, Neither, None, "CLUSTER|GETKEYSINSLOT"),
    of(
        Admin,
        Neither,
        None,
        "CLUSTER|ADDSLOTS CLUSTER|ADDSLOTSRANGE CLUSTER|BUMPEPOCH CLUSTER|DELSLOTS \
        CLUSTER|DELSLOTSRANGE CLUSTER|FAILOVER CLUSTER|FLUSHSLOTS CLUSTER|FORGET CLUSTER|MEET \
        CLUSTER|REPLICATE CLUSTER|RESET CLUSTER|SAVECONFIG CLUSTER|SET-CONFIG-EPOCH CLUSTER|SETSLOT \
        CLUSTER|MIGRATION",
    ),
    // vector sets, and the modules that Redis 8 has built in
    of(Read, Reads, ONE, "VSIM VDIM VCARD VEMB VLINKS VRANDMEMBER VGETATTR VINFO VISMEMBER VRANGE"),
    of(Modify, Writes, ONE, "VADD VSETATTR"),
    of(Delete, Writes, ONE, "VREM"),
    of(
        Read,
        Reads,
        ONE,
        "JSON.GET JSON.TYPE JSON.STRLEN JSON.ARRINDEX JSON.ARRLEN JSON.OBJKEYS JSON.OBJLEN \
        JSON.RESP",
    ),
    of(Read, Reads, TIMED, "JSON.MGET"),
    of(
        Modify,
        Writes,
        ONE,
        "JSON.SET JSON.MERGE JSON.NUMINCRBY JSON.NUMMULTBY JSON.STRAPPEND JSON.TOGGLE \
        JSON.ARRAPPEND JSON.ARRINSERT",
    ),
    of(Modify, Writes, Range(1, -1, 3), "JSON.MSET"),
    of(Delete, Writes, ONE, "JSON.DEL JSON.FORGET JSON.CLEAR JSON.ARRPOP JSON.ARRTRIM"),
    of(
        Read,
        Reads,
        ONE,
        "BF.EXISTS BF.MEXISTS BF.INFO BF.CARD BF.SCANDUMP CF.EXISTS CF.MEXISTS CF.COUNT \
        CF.INFO CF.SCANDUMP CMS.QUERY CMS.INFO TOPK.QUERY TOPK.COUNT TOPK.LIST TOPK.INFO TDIGEST.CDF \
        TDIGEST.QUANTILE TDIGEST.MIN TDIGEST.MAX TDIGEST.RANK TDIGEST.REVRANK TDIGEST.BYRANK \
        TDIGEST.BYREVRANK TDIGEST.TRIMMED_MEAN TDIGEST.INFO",
    ),
    of(
        Modify,
        Writes,
        ONE,
        "BF.ADD BF.MADD BF.INSERT BF.RESERVE BF.LOADCHUNK CF.ADD CF.ADDNX CF.INSERT \
        CF.INSERTNX CF.RESERVE CF.LOADCHUNK CMS.INCRBY CMS.INITBYDIM CMS.INITBYPROB TOPK.ADD TOPK.INCRBY \
        TOPK.RESERVE TDIGEST.CREATE TDIGEST.ADD TDIGEST.RESET",
    ),
    of(Delete, Writes, ONE, "CF.DEL"),
    of(Modify, Writes, Counted { also: 1, at: 2, step: 1 }, "CMS.MERGE TDIGEST.MERGE"),
    of(Read, Reads, ONE, "TS.GET TS.RANGE TS.REVRANGE TS.INFO"),
    of(Read, Reads, None, "TS.MGET TS.MRANGE TS.MREVRANGE TS.QUERYINDEX"),
    of(Modify, Writes, ONE, "TS.ADD TS.ALTER TS.CREATE TS.INCRBY TS.DECRBY"),
    of(Modify, Writes, Range(1, -1, 3), "TS.MADD"),
    of(Modify, Writes, TWO, "TS.CREATERULE TS.DELETERULE"),
    of(Delete, Writes, ONE, "TS.DEL"),
    of(
        Read,
        Neither,
        None,
        "FT.SEARCH FT.AGGREGATE FT.HYBRID FT.INFO FT._LIST FT.EXPLAIN FT.TAGVALS \
        FT.SPELLCHECK FT.SYNDUMP FT.DICTDUMP FT.CURSOR FT.PROFILE",
    ),
    of(
        Schema,
        Neither,
        None,
        "FT.CREATE FT.ALTER FT.DROPINDEX FT.ALIASADD FT.ALIASDEL FT.ALIASUPDATE \
        FT.SYNUPDATE FT.DICTADD FT.DICTDEL",
    ),
];
