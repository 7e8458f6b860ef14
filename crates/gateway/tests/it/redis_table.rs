//! The table of commands against what the installed server says of itself.

use countersign_testkit::redis::Redis;
use countersign_wire::redis::table::{self, Access, Keys};
use countersign_wire::stream::OpClass;

#[derive(Debug, Clone)]
enum Item {
    Text(String),
    Number(i64),
    List(Vec<Item>),
}

impl Item {
    /// A RESP2 value at the front of `bytes`.
    fn read(bytes: &mut &[u8]) -> Item {
        let end = bytes.windows(2).position(|w| w == b"\r\n").unwrap();
        let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
        let text = std::str::from_utf8(&line[1..]).unwrap().to_owned();
        *bytes = rest;
        match line[0] {
            b':' => Item::Number(text.parse().unwrap()),
            b'$' => {
                let n: usize = text.parse().unwrap();
                let body = String::from_utf8_lossy(&rest[..n]).into_owned();
                *bytes = &rest[n + 2..];
                Item::Text(body)
            }
            b'*' => Item::List((0..text.parse::<i64>().unwrap().max(0)).map(|_| Item::read(bytes)).collect()),
            _ => Item::Text(text),
        }
    }
    fn list(&self) -> &[Item] {
        if let Item::List(items) = self { items } else { &[] }
    }
    fn text(&self) -> &str {
        if let Item::Text(text) = self { text } else { "" }
    }
    fn number(&self) -> i32 {
        if let Item::Number(n) = self { i32::try_from(*n).unwrap() } else { 0 }
    }
}

#[test]
fn classes_flags_and_positions_are_the_servers_own() {
    let server = Redis::start(&[]).unwrap();
    let mut client = server.client().unwrap();
    let reply = client.ask(&["COMMAND"]).unwrap();
    let all = Item::read(&mut reply.as_bytes());
    let mut checked = 0;
    for command in all.list() {
        let subs = command.list()[9].list();
        for sub in subs {
            checked += check(sub);
        }
        let name = command.list()[0].text();
        assert_eq!(!subs.is_empty(), table::is_container(&name.to_ascii_uppercase()), "{name}");
        if subs.is_empty() || name == "command" {
            checked += check(command);
        }
    }
    assert!(checked > 300, "{checked}");
}

fn check(command: &Item) -> usize {
    let fields = command.list();
    let name = fields[0].text();
    let (first, sub) = name.split_once('|').map_or((name, None), |(c, s)| (c, Some(s.as_bytes())));
    let row = table::row(first.as_bytes(), sub).unwrap_or_else(|| panic!("{name} has no row"));
    let flag = |f: &str| fields[2].list().iter().any(|x| x.text() == f);
    let access = match (flag("write"), flag("readonly")) {
        (true, _) => Access::Writes,
        (_, true) => Access::Reads,
        _ => Access::Neither,
    };
    assert_eq!(row.access, access, "{name}");
    use OpClass::{Admin, Create, Delete, Execute, Meta, Modify, Read, Schema};
    let fits = match access {
        Access::Writes => matches!(row.class, Create | Modify | Delete | Schema | Admin),
        Access::Reads => matches!(row.class, Read | Execute | Meta),
        Access::Neither => !matches!(row.class, Modify | Delete),
    };
    assert!(fits, "{name} {:?}", row.class);
    if row.class == Read && access == Access::Neither {
        assert!(name.ends_with("subscribe") || name == "cluster|getkeysinslot", "{name} is no read");
    }
    let at = (fields[3].number(), fields[4].number(), fields[5].number());
    match row.keys {
        _ if flag("movablekeys") => assert!(!matches!(row.keys, Keys::None | Keys::Channels(..)), "{name}"),
        Keys::None => assert_eq!(at, (0, 0, 0), "{name}"),
        Keys::Range(first, last, step) => assert_eq!(at, (first, last, step), "{name}"),
        Keys::Channels(first, last) => assert!(at == (0, 0, 0) || at == (first, last, 1), "{name}"),
        other => panic!("{name}: the server's keys do not move, ours do: {other:?}"),
    }
    1
}

/// Keys that stand behind a number or a word: the server is asked for them.
#[test]
fn moving_keys_are_found_where_the_server_finds_them() {
    let server = Redis::start(&[]).unwrap();
    let mut client = server.client().unwrap();
    for words in [
        "EVAL x 2 a b c",
        "EVALSHA x 0 a",
        "EVAL_RO x 1 a b",
        "FCALL f 2 a b",
        "FCALL_RO f 1 a",
        "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
        "ZINTERSTORE d 1 a",
        "ZDIFFSTORE d 3 a b c",
        "ZUNION 2 a b",
        "ZINTERCARD 2 a b LIMIT 1",
        "SINTERCARD 2 a b",
        "LMPOP 2 a b LEFT",
        "ZMPOP 1 a MIN",
        "BLMPOP 0 2 a b LEFT",
        "BZMPOP 0 1 a MAX",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "XREAD BLOCK 5 STREAMS streams 0",
        "XREADGROUP GROUP g c STREAMS a b > >",
        "XREADGROUP GROUP g streams STREAMS a >",
        "SORT a",
        "SORT a BY w LIMIT 0 1 GET # ALPHA STORE d",
        "SORT a GET store STORE d",
        "SORT_RO a BY x",
        "GEORADIUS a 1 2 3 km STORE d",
        "GEORADIUS a 1 2 3 km ASC STOREDIST d",
        "GEORADIUSBYMEMBER a m 3 km STORE d",
        "GEORADIUS a 1 2 3 km",
        "MIGRATE h 1 k 0 5",
        "BITOP AND d a b",
        "MSET a 1 b 2",
        "BLPOP a b 0",
        "OBJECT ENCODING a",
        "MEMORY USAGE a",
        "XGROUP DESTROY a g",
        "COPY a b",
        "LCS a b",
        "RENAME a b",
        "DEL a b c",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let mut ask = vec!["COMMAND", "GETKEYS"];
        ask.extend(&words);
        let reply = client.ask(&ask).unwrap();
        let theirs: Vec<String> = match Item::read(&mut reply.as_bytes()) {
            Item::List(items) => items.iter().map(|i| i.text().to_owned()).collect(),
            _ => Vec::new(),
        };
        let row = table::row(words[0].as_bytes(), words.get(1).map(|w| w.as_bytes())).unwrap();
        let found = table::keys(row.keys, words.len(), 64, &|at| words.get(at).map(|w| w.as_bytes()));
        let ours: Vec<&str> = found.at.iter().map(|at| words[*at]).collect();
        assert_eq!(ours, theirs, "{words:?}: {reply}");
    }
}
