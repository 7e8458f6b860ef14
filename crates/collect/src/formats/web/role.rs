//! What a field of an access log can mean.

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `08/Jun/2020:06:49:01 +0000`.
    Clf,
    /// RFC 3339 and its relatives.
    Iso,
    /// A number of so many nanoseconds since 1970, decimals allowed for seconds.
    Unix(i64),
    /// Of the operator's own making: tried as all of the above.
    Any,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing: constants, and what another field says better.
    Skip,
    /// To `unmapped`.
    Rest,
    /// The caller, with or without a port; a name where the server looks addresses up.
    Client,
    /// The caller's port.
    ClientPort,
    /// X-Forwarded-For: hops, claimed.
    Forwarded,
    /// The address that was called, with or without a port.
    Local,
    /// Its port.
    LocalPort,
    /// The upstream chosen; the last one where several were tried.
    Upstream,
    /// A user's name that nobody or only the server's own log vouches for: claimed.
    User,
    /// A user whom the server itself authenticated: asserted.
    UserChecked,
    /// Principal of the caller's certificate: a SPIFFE id or another URI.
    Peer,
    /// Principal of the called side's certificate.
    LocalPeer,
    /// Distinguished name of the caller's certificate.
    PeerSubject,
    /// SHA-256 of the caller's certificate, hexadecimal.
    PeerDigest,
    /// When it began.
    Time(Clock),
    /// How long it took, in units of so many nanoseconds; decimals allowed.
    Took(u64),
    /// Until the upstream answered.
    TookUpstream(u64),
    /// `GET /path HTTP/1.1`
    Request,
    /// The method alone.
    Method,
    /// Path with query, or an absolute URL.
    Uri,
    /// The query alone, with or without its question mark.
    Query,
    /// `HTTP/1.1`
    Protocol,
    /// `https`
    Scheme,
    /// Host that was asked for, port allowed.
    Host,
    /// Server name of the TLS session.
    Sni,
    /// `TLSv1.3`
    TlsVersion,
    /// Name of the cipher suite.
    Cipher,
    /// Whether the TLS session was resumed: `r` or `1`.
    Resumed,
    /// Transport, as `tcp`.
    Transport,
    /// Status of HTTP.
    Status,
    /// Status of gRPC, a number or a name.
    GrpcStatus,
    /// Envoy's response flags.
    Flags,
    /// HAProxy's termination state.
    Termination,
    /// Bytes of the request.
    Received,
    /// Bytes of the answer.
    Sent,
    /// A header of the request that is worth keeping, under the field's name.
    Header,
    /// Id of the request.
    RequestId,
    /// `traceparent`, or 32 hexadecimal digits.
    Trace,
    /// A span's id.
    Span,
    /// Service or cluster that was called.
    Service,
    /// Retries.
    Retries,
    /// An error in the source's words.
    Error,
}
