//! THE table: every way in which a connection or a message ends, and all that follows from it. Floor 1.
//!
//! One variant is one row: its label, title and sentence, the HTTP status before the `101`, the close code after it,
//! how severe it is, whose doing it was, and whether to try again. What a client is told comes only from here, so no
//! text of a peer's can reach an answer. The doc comment of a variant is also its entry in docs/errors.md.
//!
//! Never decides and never sends: stages return a [`Reason`], [`crate::observe`] logs and counts it.
//! A label never changes its meaning; a new way to end is a new row.

mod page;
mod row;
mod tell;

pub use page::errors_page;
pub use row::{Fault, Level, Retry, Row};
pub use tell::At;

use drawgate_protocol::Violation;

row::reasons! {
    // The request head: refused before there is a WebSocket.

    /// The head is not what HTTP/1.1 allows: a bare LF, a folded line, a NUL, a header without a name.
    /// Look for a hand-written client, or for a proxy that rewrites requests.
    RequestMalformed "request_malformed" "Request Malformed" "the request is not valid HTTP/1.1"
        http[400] close[] level Warn fault Client retry Never;

    /// The request-target is not a path, or can be read in two ways: dot segments, empty segments, an encoded slash or
    /// NUL, or another host than the `Host` header names. Send the plain path.
    RequestTargetInvalid "request_target_invalid" "Request Target Invalid" "the request-target is not a plain path"
        http[400] close[] level Warn fault Client retry Never;

    /// The request line is longer than the listener reads. Shorten the path or the query.
    RequestLineTooLong "request_line_too_long" "Request Line Too Long" "the request line is longer than allowed"
        http[414] close[] level Warn fault Client retry Never;

    /// The head has more bytes than the listener reads. Large cookies are the usual cause.
    RequestHeadTooLarge "request_head_too_large" "Request Head Too Large" "the request head is larger than allowed"
        http[431] close[] level Warn fault Client retry Never;

    /// The head has more headers than the listener reads.
    RequestHeadersTooMany "request_headers_too_many" "Request Headers Too Many" "the request has more headers than allowed"
        http[431] close[] level Warn fault Client retry Never;

    /// The head was not complete within the listener's `head_timeout`, which runs from the accept, or from the end of the
    /// TLS handshake, and is moved by nothing. A client that is not attacking is on a very slow path; it may try again.
    RequestTimeout "request_timeout" "Request Timeout" "the request did not arrive in time"
        http[408] close[] level Info fault Client retry AtOnce;

    /// The client left before its request was complete, so there was nobody to answer. Port scans, and health checks that
    /// only connect, look like this.
    RequestIncomplete "request_incomplete" "Request Incomplete" "the client left before its request was complete"
        http[] close[] level Info fault Client retry AtOnce;

    /// The request is not HTTP/1.1, the version that a WebSocket handshake needs (RFC 6455 §4.1).
    HttpVersionUnsupported "http_version_unsupported" "HTTP Version Unsupported" "only HTTP/1.1 is spoken here"
        http[505] close[] level Warn fault Client retry Never;

    /// The method is not GET, the only one that opens a WebSocket (RFC 6455 §4.1).
    MethodNotAllowed "method_not_allowed" "Method Not Allowed" "only GET is allowed here"
        http[405] close[] level Warn fault Client retry Never;

    /// A plain HTTP request, without `Upgrade: websocket` and `Connection: Upgrade`. Browsers that open the address as a
    /// page send this, and so does a proxy in between that does not pass the upgrade on.
    UpgradeRequired "upgrade_required" "Upgrade Required" "only WebSocket handshakes are answered here"
        http[426] close[] level Warn fault Client retry Never;

    /// `Sec-WebSocket-Version` is missing or is not 13 (RFC 6455 §4.1). The answer names the version that is spoken.
    WebSocketVersionUnsupported "websocket_version_unsupported" "WebSocket Version Unsupported"
        "only WebSocket version 13 is spoken here"
        http[426] close[] level Warn fault Client retry Never;

    /// `Sec-WebSocket-Key` is missing or is not the base64 of 16 bytes (RFC 6455 §4.1).
    WebSocketKeyInvalid "websocket_key_invalid" "WebSocket Key Invalid" "the handshake key is not 16 bytes of base64"
        http[400] close[] level Warn fault Client retry Never;

    /// A header that may come once came twice, so that two readers could take different ones.
    HeaderDuplicated "header_duplicated" "Header Duplicated" "a header that may come once came twice"
        http[400] close[] level Warn fault Client retry Never;

    /// The `Host` header is missing or is not a host with an optional port.
    HostInvalid "host_invalid" "Host Invalid" "the Host header is missing or invalid"
        http[400] close[] level Warn fault Client retry Never;

    /// No route of this listener takes the host and path. Compare the address with `path` and `hosts` of the routes.
    RouteNotFound "route_not_found" "Route Not Found" "nothing is served at this address"
        http[404] close[] level Warn fault Client retry Never;

    /// The page that opens the connection is not one that the route allows, or does not say who it is where it must
    /// (RFC 6455 §10.2). If the page is yours, add its origin to the route's `origins`, written exactly as the browser
    /// sends it.
    OriginRefused "origin_refused" "Origin Refused" "this origin may not connect"
        http[403] close[] level Warn fault Client retry Never;

    /// The request announces a body. A handshake has none; one is how requests are smuggled past a gateway.
    RequestBodyRefused "request_body_refused" "Request Body Refused" "a handshake has no body"
        http[400] close[] level Warn fault Client retry Never;

    /// `Sec-WebSocket-Protocol` is not a list of different tokens, or is longer than allowed (RFC 6455 §4.1).
    SubprotocolsInvalid "subprotocols_invalid" "Subprotocols Invalid" "the list of subprotocols is invalid or too long"
        http[400] close[] level Warn fault Client retry Never;

    /// `Sec-WebSocket-Extensions` does not follow its grammar, or is longer than allowed (RFC 6455 §9.1).
    ExtensionsInvalid "extensions_invalid" "Extensions Invalid" "the list of extensions is invalid or too long"
        http[400] close[] level Warn fault Client retry Never;

    // Proxies: who the client is must be known before anything is made of what it says.

    /// The listener has `proxy_protocol`, and the address that connected is not in `firewall.trusted_proxies`: whatever it
    /// said of its client could be made up. Clients must go through the proxy; a proxy of your own belongs into the list.
    ProxyUntrusted "proxy_untrusted" "Proxy Untrusted" "only trusted proxies may connect here"
        http[] close[] level Warn fault Client retry Never;

    /// A trusted proxy did not begin with a PROXY header of the version that the listener's `proxy_protocol` names, or with one
    /// for something else than a TCP client (docs/client-addresses.md). The record's detail says what was wrong; most often
    /// the proxy does not send the header at all.
    ProxyHeaderInvalid "proxy_header_invalid" "PROXY Header Invalid" "the PROXY header is missing or not valid here"
        http[] close[] level Error fault Operator retry Never;

    /// The PROXY header was not complete within the listener's `proxy_header_timeout`, which runs from the accept. A proxy that
    /// waits for the client before it sends the header, or something that only connects, looks like this.
    ProxyHeaderTimeout "proxy_header_timeout" "PROXY Header Timeout" "the PROXY header did not arrive in time"
        http[] close[] level Warn fault Operator retry AtOnce;

    /// The request comes from a trusted proxy, and who the client is cannot be told from the header that
    /// `firewall.client_address_header` names: it is not there, or the entry that decides is no address
    /// (docs/client-addresses.md). The record's detail says which. Let the proxy set that header itself.
    ForwardedInvalid "forwarded_invalid" "Forwarded Invalid" "the proxy does not say who the client is"
        http[400] close[] level Warn fault Client retry Never;

    // TLS: refused before there is anything to answer in.

    /// The TLS handshake failed; the record's detail names the alert. Most often a client that does not trust the
    /// certificate, one that speaks plain HTTP or no version from 1.2 on, or one whose own certificate is not good here.
    TlsHandshakeFailed "tls_handshake_failed" "TLS Handshake Failed" "the TLS handshake failed"
        http[] close[] level Warn fault Client retry Never;

    /// The TLS handshake was not complete within the listener's `tls_timeout`, which runs from the accept and is moved by
    /// nothing. A client that is not attacking is on a very slow path; it may try again.
    TlsTimeout "tls_timeout" "TLS Timeout" "the TLS handshake was not completed in time"
        http[] close[] level Info fault Client retry AtOnce;

    /// As many TLS handshakes are being made as `server.tls_handshakes_max` allows. Either an attack, or many clients that
    /// connect at once, which try again.
    TlsFull "tls_full" "TLS Full" "too many TLS handshakes at a time"
        http[] close[] level Warn fault Gateway retry AfterSeconds(5);

    /// The `Host` header names another host than the client named in the TLS handshake (SNI; RFC 9110 §15.5.20). A proxy
    /// that encrypts anew must name the same host in both, or none in the handshake.
    HostMisdirected "host_misdirected" "Host Misdirected" "the Host is not the one named in the TLS handshake"
        http[421] close[] level Warn fault Client retry Never;

    // Admission: the request may be fine, but not now or not from here.

    /// The client's address is not one that `firewall.allow` and `firewall.deny` let in. If it should be, write its network into
    /// `allow`: the longest network that matches counts, and a tie is denied.
    AddressDenied "address_denied" "Address Denied" "connections from this address are not allowed"
        http[403] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The client's address lies in a network that an operator has banned; live connections of it ended with the ban. Lift it
    /// there, or wait until it ends.
    AddressBanned "address_banned" "Address Banned" "this address may not connect for now"
        http[403] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The client's address made more handshakes in a minute than `firewall.handshakes_per_client_per_minute`, or its IPv6 /48
    /// more than `firewall.handshakes_per_v6_48_per_minute`. A client that reconnects should wait a little longer each time.
    HandshakeRateExceeded "handshake_rate_exceeded" "Handshake Rate Exceeded" "too many handshakes from this address"
        http[429] close[] level Warn fault Client retry AfterSeconds(10);

    /// The client's address has as many connections as `firewall.connections_per_client_max` allows, or its IPv6 /48 as many as
    /// `firewall.connections_per_v6_48_max`; the record's `limit` says which. If many users share one address, raise it.
    ClientConnectionsExceeded "client_connections_exceeded" "Client Connections Exceeded"
        "too many connections from this address"
        http[429] close[] level Warn fault Client retry AfterSeconds(30);

    /// The gateway has as many connections as it takes: `server.connections_max`, or as there are descriptors for. Add capacity, or find out who holds them.
    ServerFull "server_full" "Server Full" "the server has no room for more connections"
        http[503] close[TRY_AGAIN_LATER] level Error fault Gateway retry AfterSeconds(10);

    /// The process has no file descriptor left for another connection; live ones are kept. Raise the limit of open files
    /// (`ulimit -n`, `LimitNOFILE=`).
    DescriptorsExhausted "descriptors_exhausted" "Descriptors Exhausted" "the server cannot take more connections now"
        http[503] close[] level Error fault Operator retry AfterSeconds(10);

    /// The audit log cannot be written, and `audit.when_full = "closed"` lets nobody in until it can: make room on its disk, or see to its
    /// folder. The log says what is wrong.
    AuditUnavailable "audit_unavailable" "Audit Unavailable" "the server cannot record connections now"
        http[503] close[TRY_AGAIN_LATER] level Error fault Operator retry AfterSeconds(10);

    /// The gateway is shutting down or restarting. Connect again: another instance, or the next one, answers.
    Draining "draining" "Draining" "the service restarts, please connect again"
        http[503] close[SERVICE_RESTART] level Info fault None retry AfterSeconds(1);

    /// The configuration was read again, and the route of the connection is gone, now asks who speaks, or verifies it by other
    /// keys. Connect again: what there is now decides.
    RouteChanged "route_changed" "Route Changed" "this service was changed, please connect again"
        http[] close[SERVICE_RESTART] level Info fault Operator retry AtOnce;

    // Authentication.

    /// As many connections as `server.unauthenticated_max` allows have yet to send their first message. Either an attack, or clients that connect
    /// long before they authenticate.
    UnauthenticatedFull "unauthenticated_full" "Unauthenticated Full" "too many connections wait to authenticate"
        http[503] close[TRY_AGAIN_LATER] level Warn fault Gateway retry AfterSeconds(5);

    /// No complete first message came within the `first_message_timeout` of the route's auth. Pings do not move it. Send
    /// the token as soon as the connection is open.
    FirstMessageTimeout "first_message_timeout" "First Message Timeout" "the first message did not arrive in time"
        http[] close[TIMEOUT] level Info fault Client retry AtOnce;

    /// The first message is not one text message in few fragments, as a token must be.
    FirstMessageInvalid "first_message_invalid" "First Message Invalid" "the first message must be a token as text"
        http[] close[UNAUTHORIZED] level Warn fault Client retry WithNewCredential;

    /// The first message is larger than any token may be.
    FirstMessageTooBig "first_message_too_big" "First Message Too Big" "the first message is larger than a token may be"
        http[] close[MESSAGE_TOO_BIG] level Warn fault Client retry WithNewCredential;

    /// The request carries no credential in any place where the route's auth looks for one. Look at `credentials` there, and at
    /// proxies that drop headers.
    TokenMissing "token_missing" "Token Missing" "a token is required"
        http[401] close[UNAUTHORIZED] level Info fault Client retry WithNewCredential;

    /// The request carries two credentials, and what one allows the other may not. Send one (RFC 6750 §2).
    CredentialsConflicting "credentials_conflicting" "Credentials Conflicting"
        "the request carries more than one credential"
        http[400] close[] level Warn fault Client retry Never;

    /// The token is malformed, not signed by the key, or its claims are not what the route's auth expects. Which of them
    /// is in the log only; `drawgate token inspect` explains a token.
    TokenInvalid "token_invalid" "Token Invalid" "the token is not valid"
        http[401] close[UNAUTHORIZED] level Warn fault Client retry WithNewCredential;

    /// The client's address showed credentials that are not good more often than `failures_per_client_per_minute` of the route's auth
    /// allows: nothing that it shows is looked at until it has waited. Or tokens that are not good named one subject more often than
    /// `failures_per_subject_per_minute` allows, from whichever addresses; those that are good are let in. The record's detail says which.
    /// Find out who guesses, or which program goes on with a token that was refused; if many users share one address, raise it.
    AuthenticationRateExceeded "authentication_rate_exceeded" "Authentication Rate Exceeded"
        "too many failed attempts to authenticate"
        http[429] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(30);

    /// The token was good and its `exp` has passed, leeway included. Get a new one and connect again.
    TokenExpired "token_expired" "Token Expired" "the token has expired"
        http[401] close[UNAUTHORIZED] level Info fault Client retry WithNewCredential;

    /// The token is good and was revoked: by its id, by its session's, by a logout of its subject, or together with all that
    /// were issued until then; or the key that had signed it was withdrawn. Sign in again for a new one.
    TokenRevoked "token_revoked" "Token Revoked" "the token has been revoked"
        http[401] close[UNAUTHORIZED] level Info fault Client retry WithNewCredential;

    /// There are no keys to verify tokens with: they have never been fetched, or too long ago (`stale_max`). The log says what
    /// is in the way. Clients should come back later; their tokens may be good.
    KeysUnavailable "keys_unavailable" "Keys Unavailable" "tokens cannot be verified now, please try again later"
        http[503] close[TRY_AGAIN_LATER] level Error fault Operator retry AfterSeconds(30);

    // Sessions.

    /// The subject is banned, whatever token it shows. `drawgate unban` lets it in again.
    SubjectBanned "subject_banned" "Subject Banned" "this user may not connect"
        http[403] close[FORBIDDEN] level Warn fault Client retry Never;

    /// The subject has as many sessions on the route as `sessions_per_subject_max` of its auth allows. Close one of them; or
    /// set `sessions_at_limit = "end_oldest"`.
    SessionsExceeded "sessions_exceeded" "Sessions Exceeded" "this user has too many sessions"
        http[429] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// The subject opened another session at its limit, and `sessions_at_limit` is `"end_oldest"`. A client that comes back
    /// at once would end the next one: let a person decide.
    SessionReplaced "session_replaced" "Session Replaced" "a newer session of this user took the place of this one"
        http[] close[POLICY_VIOLATION] level Info fault None retry Never;

    /// An operator ended the session. Its token is still good.
    SessionEnded "session_ended" "Session Ended" "the session was ended by an operator"
        http[] close[POLICY_VIOLATION] level Info fault Operator retry AtOnce;

    /// The session lasted for the route's `session_time_max`. Sign in again.
    SessionTimeExceeded "session_time_exceeded" "Session Time Exceeded" "the session has lasted as long as it may"
        http[] close[TIMEOUT] level Info fault None retry AtOnce;

    /// No message went either way for the route's `idle_timeout`; pings do not count.
    IdleTimeout "idle_timeout" "Idle Timeout" "no message was sent or received for too long"
        http[] close[TIMEOUT] level Info fault None retry AtOnce;

    /// A token that was sent to refresh a session is another subject's, is not valid, or came too often or too long. What
    /// it was is in the log.
    RefreshRefused "refresh_refused" "Refresh Refused" "the new token does not fit this session"
        http[] close[UNAUTHORIZED] level Warn fault Client retry WithNewCredential;

    // Rules of RFC 6455 that the client broke; one for each `Violation`.

    /// A reserved bit is set although no extension that uses it was negotiated (RFC 6455 §5.2). A client that compresses
    /// without having been allowed to does this.
    FrameReservedBits "frame_reserved_bits" "Frame Reserved Bits" "a reserved bit is set that no extension uses"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// The opcode is one that no standard defines (RFC 6455 §5.2).
    FrameOpcodeUnknown "frame_opcode_unknown" "Frame Opcode Unknown" "the opcode of a frame is not defined"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A Close, Ping or Pong came in fragments (RFC 6455 §5.5).
    ControlFragmented "control_fragmented" "Control Fragmented" "a control frame is fragmented"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A Close, Ping or Pong declares more than 125 bytes (RFC 6455 §5.5).
    ControlTooLong "control_too_long" "Control Too Long" "a control frame has more than 125 bytes"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A frame from the client is not masked (RFC 6455 §5.1). What came may not be a WebSocket client at all.
    FrameNotMasked "frame_not_masked" "Frame Not Masked" "a frame from the client is not masked"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A frame from a server is masked (RFC 6455 §5.1).
    FrameMasked "frame_masked" "Frame Masked" "a frame from the server is masked"
        http[] close[PROTOCOL_ERROR] level Warn fault Upstream retry Never;

    /// A length is written in more bytes than it needs (RFC 6455 §5.2).
    FrameLengthNotMinimal "frame_length_not_minimal" "Frame Length Not Minimal"
        "the length of a frame is not in its shortest form"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A 64-bit length has its most significant bit set (RFC 6455 §5.2).
    FrameLengthInvalid "frame_length_invalid" "Frame Length Invalid" "the length of a frame has its top bit set"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A continuation frame came while no message was open (RFC 6455 §5.4).
    ContinuationUnexpected "continuation_unexpected" "Continuation Unexpected" "there is no message to continue"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A new message began before the one before it ended (RFC 6455 §5.4). Two threads that write to one connection do this.
    MessageInterleaved "message_interleaved" "Message Interleaved" "a message began inside an unfinished one"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A text message has bytes that are not UTF-8 (RFC 6455 §8.1). Send other bytes as binary.
    TextNotUtf8 "text_not_utf8" "Text Not UTF-8" "a text message is not UTF-8"
        http[] close[INVALID_PAYLOAD] level Warn fault Client retry Never;

    /// A Close frame has a body of one byte, too short for a code (RFC 6455 §5.5.1).
    CloseBodyInvalid "close_body_invalid" "Close Body Invalid" "a Close frame has a body of one byte"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// A Close frame has a code that may not be sent, such as 1005 or 1006 (RFC 6455 §7.4).
    CloseCodeInvalid "close_code_invalid" "Close Code Invalid" "a Close frame has a code that may not be sent"
        http[] close[PROTOCOL_ERROR] level Warn fault Client retry Never;

    /// The reason in a Close frame is not UTF-8 (RFC 6455 §5.5.1).
    CloseReasonNotUtf8 "close_reason_not_utf8" "Close Reason Not UTF-8" "the reason in a Close frame is not UTF-8"
        http[] close[INVALID_PAYLOAD] level Warn fault Client retry Never;

    /// A message has more bytes than the route's `message_bytes_max`; found at the header that declares it. Send less, or
    /// raise the limit.
    MessageTooBig "message_too_big" "Message Too Big" "the message is larger than allowed"
        http[] close[MESSAGE_TOO_BIG] level Warn fault Client retry Never;

    /// A message came in more frames than the route's `message_fragments_max`; empty ones count. Send larger fragments.
    FragmentsTooMany "fragments_too_many" "Fragments Too Many" "the message has more fragments than allowed"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// A compressed message is not valid deflate, or ends inside a block (RFC 7692 §7.2.2). Look for a client that keeps its
    /// context from message to message though it was told not to.
    DeflateInvalid "deflate_invalid" "Deflate Invalid" "a compressed message is not valid deflate"
        http[] close[INVALID_PAYLOAD] level Warn fault Client retry Never;

    // Pace and patience.

    /// The client's compressed messages inflated to more bytes in a second than the route's `inflated_bytes_per_second`.
    InflationRateExceeded "inflation_rate_exceeded" "Inflation Rate Exceeded"
        "compressed messages inflate to too many bytes a second"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// More messages came in a second than the route allows one session, subject or client (`limits.messages_per_second` and those
    /// beside it); the record says whose the rate is. With `over_rate = "slow"` it would have been read more slowly.
    MessageRateExceeded "message_rate_exceeded" "Message Rate Exceeded" "too many messages a second"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// More bytes came in a second than the route allows one session, subject or client (`limits.bytes_per_second` and those beside
    /// it); the record says whose the rate is. Compressed messages count by what they inflate to.
    ByteRateExceeded "byte_rate_exceeded" "Byte Rate Exceeded" "too many bytes a second"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// A message was not complete within the route's `message_timeout` of its first byte.
    MessageTimeout "message_timeout" "Message Timeout" "the message was not completed in time"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AtOnce;

    /// The client sent far more pings than any keepalive needs.
    PingRateExceeded "ping_rate_exceeded" "Ping Rate Exceeded" "too many pings"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// The client sent far more pongs than it was asked for.
    PongRateExceeded "pong_rate_exceeded" "Pong Rate Exceeded" "too many pongs"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry AfterSeconds(10);

    /// The client sent nothing at all for the route's `pong_timeout` after a ping. Its network is gone, or it is stopped.
    PongTimeout "pong_timeout" "Pong Timeout" "a ping was not answered in time"
        http[] close[TIMEOUT] level Info fault Client retry AtOnce;

    /// The client took none of the bytes that wait for it for the route's `stall_timeout`. It reads too slowly, or not at all.
    OutputStalled "output_stalled" "Output Stalled" "the client does not read what is sent"
        http[] close[TIMEOUT] level Warn fault Client retry AtOnce;

    /// The client did not answer our Close within the route's `close_timeout`, so the connection was cut. The record keeps
    /// 1006; what we closed for is its detail.
    CloseTimeout "close_timeout" "Close Timeout" "our Close was not answered in time"
        http[] close[] level Info fault Client retry AtOnce;

    /// The process runs out of memory, descriptors or time, and nobody is let in; or the buffers of all connections together reached
    /// their bound, or memory did, and this was one of those that cost most. docs/overload.md has the stages. Add memory or instances.
    Overloaded "overloaded" "Overloaded" "the server is overloaded, please try again later"
        http[503] close[TRY_AGAIN_LATER] level Error fault Gateway retry AfterSeconds(10);

    // The application behind the gate.

    /// Nothing takes connections at the address of the route's backend. Start the application, or correct `urls`.
    UpstreamRefused "upstream_refused" "Upstream Refused" "the application does not take connections"
        http[502] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// There is no way to the address of the route's backend: its name is not known, or no network leads there. The record's detail
    /// says which.
    UpstreamUnreachable "upstream_unreachable" "Upstream Unreachable" "the application cannot be reached"
        http[502] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// The application did not take the connection within `connect_timeout`, or did not answer within `answer_timeout` of the
    /// route's backend; the record's `limit` says which. It is overloaded, or stopped.
    UpstreamTimeout "upstream_timeout" "Upstream Timeout" "the application did not answer in time"
        http[504] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// Every application of the route has as many connections as its `connections_max` allows.
    UpstreamFull "upstream_full" "Upstream Full" "the application has no room"
        http[503] close[TRY_AGAIN_LATER] level Warn fault Upstream retry AfterSeconds(10);

    /// Nobody may go to any application of the route. One is left alone, since it has failed again and again (`failures_max`), until one
    /// connection has tried whether it is well again: `upstream left alone` says for how long. Or it `fails its health checks`, or an operator
    /// has drained it. `drawgate upstreams` says which.
    UpstreamsUnavailable "upstreams_unavailable" "Upstreams Unavailable" "no application takes connections now"
        http[503] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(10);

    /// An operator has drained the application of the connection (`drawgate upstreams --drain`), since it is about to go away. Connect
    /// again: another one answers.
    UpstreamDraining "upstream_draining" "Upstream Draining" "the application restarts, please connect again"
        http[] close[SERVICE_RESTART] level Info fault Operator retry AtOnce;

    /// The TLS handshake with the application failed. Most often its certificate is not for the host in `urls`, has expired, or is
    /// from an authority that neither the system nor `ca_file` knows.
    UpstreamTlsFailed "upstream_tls_failed" "Upstream TLS Failed" "the application cannot be trusted"
        http[502] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(30);

    /// The application answered the handshake with a status other than 101, which the record's detail has. Redirects are not
    /// followed. If the path is wrong, see how `urls` and the route's `path` become the path that the application is asked for.
    UpstreamDeclined "upstream_declined" "Upstream Declined" "the application did not accept the connection"
        http[502] close[BAD_GATEWAY] level Warn fault Upstream retry AfterSeconds(5);

    /// What the application answered is no valid answer to a WebSocket handshake (RFC 6455 §4.1), or accepts what was never
    /// offered; the record's `detail` says what. What listens there may be no WebSocket application at all. If it is one whose
    /// compression does not keep to RFC 7692, leave out `compression` of its backend.
    UpstreamAnswerInvalid "upstream_answer_invalid" "Upstream Answer Invalid"
        "the application did not answer as a WebSocket server"
        http[502] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// The application ended its connection without a Close frame. It crashed, or was restarted without closing.
    UpstreamLost "upstream_lost" "Upstream Lost" "the application has gone"
        http[] close[BAD_GATEWAY] level Warn fault Upstream retry AfterSeconds(1);

    /// The application broke a rule of RFC 6455, or sent a message beyond the route's limits; the record's `rule` says which. Where
    /// its compressed messages inflate to more bytes a second than `inflated_bytes_per_second`, the `detail` says so.
    UpstreamMisbehaved "upstream_misbehaved" "Upstream Misbehaved" "the application broke the protocol"
        http[] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// The application took none of the bytes that wait for it for the route's `stall_timeout`. It is overloaded, or stopped.
    UpstreamStalled "upstream_stalled" "Upstream Stalled" "the application does not read what is sent"
        http[] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    /// The application sent nothing at all for the route's `pong_timeout` after a ping. It is stopped, or its network is gone.
    UpstreamSilent "upstream_silent" "Upstream Silent" "the application does not answer"
        http[] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    // Messages: what a route's `inspect` and `inspect_replies` do not let through.

    /// The message is text where the route takes binary, or binary where it takes text (docs/validation.md). The connection ends:
    /// a client that sends the wrong kind was not written for this route.
    MessageKindRefused "message_kind_refused" "Message Kind Refused" "messages of this kind are not accepted here"
        http[] close[UNSUPPORTED_DATA] level Warn fault Client retry Never;

    /// The message is not JSON that every reader reads the same way: it leaves the grammar of RFC 8259, has two members of one name,
    /// is nested too deeply, or is beyond another limit of the route's `inspect.json`. The record's detail names the rule and the
    /// byte; `drawgate try` says the same of a message at hand.
    MessageNotJson "message_not_json" "Message Not JSON" "the message is not strict JSON"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The message is not what the route's schema asks for. The notice and the record name the place in the message and the keyword of the
    /// schema; `drawgate try` says the same of a message at hand.
    MessageSchemaMismatch "message_schema_mismatch" "Message Schema Mismatch" "the message does not fit its schema"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The route has a schema for each type of message, and none for this one: the member that names the type is missing, is no
    /// string, or names another. With `schemas.unknown = "pass"` such messages would go on.
    MessageTypeUnknown "message_type_unknown" "Message Type Unknown" "messages of this type are not known here"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// A rule of the operator's (`inspect.rules`) holds on the message, and does not let it pass. The notice and the record name the
    /// rule.
    PolicyRefused "policy_refused" "Policy Refused" "a rule does not let the message pass"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// Whether a rule of the operator's holds on the message could not be told: it asks for a member that is not there, compares what
    /// cannot be compared, or is neither true nor false. A rule that fails lets nothing pass; the record names it. Write
    /// conditions that ask with `has()` first, or let the schema see to it.
    PolicyRuleFailed "policy_rule_failed" "Policy Rule Failed" "whether the message may pass could not be told"
        http[] close[POLICY_VIOLATION] level Warn fault Operator retry Never;

    /// The route's messages are sealed (`seal`), and this one is not what the client's side of the session has to send next: it is no
    /// compact JWE of that form, its key, direction or number is another, it was changed on the way, or what it holds is not
    /// UTF-8. Which of them is said to nobody, the operator included.
    PayloadUnsealed "payload_unsealed" "Payload Unsealed" "the message is not sealed as it has to be"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The key of a session on a route that seals its messages has sealed as many as it may, fewer than 2^31. A new
    /// connection has another key.
    SealSpent "seal_spent" "Seal Spent" "the key of this session has sealed as many messages as it may"
        http[] close[TRY_AGAIN_LATER] level Info fault None retry AtOnce;

    /// More messages of the connection were refused in a minute than `inspect.refusals_max` of the route allows. The records before
    /// say why each was.
    RefusalsExceeded "refusals_exceeded" "Refusals Exceeded" "too many messages were refused"
        http[] close[POLICY_VIOLATION] level Warn fault Client retry Never;

    /// The application sent a message that the route's `inspect_replies` does not let through; the client did not get it. The record's
    /// detail says what was wrong. The connection ends only where `on_refusal = "close"` says so, or where too many were refused.
    ReplyRefused "reply_refused" "Reply Refused" "the application sent what it may not send"
        http[] close[BAD_GATEWAY] level Error fault Upstream retry AfterSeconds(5);

    // Our own faults.

    /// A handler of the application panicked. This connection alone ends; the message of the panic is in the log.
    HandlerPanicked "handler_panicked" "Handler Panicked" "the application failed"
        http[500] close[INTERNAL_ERROR] level Error fault Operator retry AfterSeconds(5);

    /// Something went wrong that never should. Please report it, with the log record.
    InternalError "internal_error" "Internal Error" "the server failed"
        http[500] close[INTERNAL_ERROR] level Error fault Gateway retry AfterSeconds(5);

    // Ends that no rule demanded.

    /// The client closed with a Close frame; its code, or 1005 where it gave none, is in the record. A code is answered
    /// with the same code.
    ClosedByClient "closed_by_client" "Closed By Client" "the client closed the connection"
        http[] close[] level Info fault None retry AtOnce;

    /// The application closed, with a code and a reason of its own.
    ClosedByApplication "closed_by_application" "Closed By Application" "the application closed the connection"
        http[] close[] level Info fault None retry AtOnce;

    /// The client ended its side of the transport without a Close frame (recorded as 1006). Programs that exit without
    /// closing do this.
    ConnectionLost "connection_lost" "Connection Lost" "the connection ended without a Close frame"
        http[] close[] level Info fault Client retry AtOnce;

    /// The transport failed, most often by a reset (recorded as 1006).
    ConnectionReset "connection_reset" "Connection Reset" "the connection was reset"
        http[] close[] level Info fault Client retry AtOnce;

    /// The gateway ended and this connection had not come to an end by itself within `drain_timeout`, so it was cut.
    ForcedShutdown "forced_shutdown" "Forced Shutdown" "the gateway was ended by force"
        http[] close[] level Warn fault Operator retry AfterSeconds(1);
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::ReservedBits => Self::FrameReservedBits,
            Violation::OpcodeUnknown => Self::FrameOpcodeUnknown,
            Violation::ControlFragmented => Self::ControlFragmented,
            Violation::ControlTooLong => Self::ControlTooLong,
            Violation::NotMasked => Self::FrameNotMasked,
            Violation::Masked => Self::FrameMasked,
            Violation::LengthNotMinimal => Self::FrameLengthNotMinimal,
            Violation::LengthTopBitSet => Self::FrameLengthInvalid,
            Violation::ContinuationUnexpected => Self::ContinuationUnexpected,
            Violation::MessageInterleaved => Self::MessageInterleaved,
            Violation::TextNotUtf8 => Self::TextNotUtf8,
            Violation::CloseBodyOneByte => Self::CloseBodyInvalid,
            Violation::CloseCodeInvalid => Self::CloseCodeInvalid,
            Violation::CloseReasonNotUtf8 => Self::CloseReasonNotUtf8,
            Violation::MessageTooBig => Self::MessageTooBig,
            Violation::FragmentsTooMany => Self::FragmentsTooMany,
            Violation::DeflateInvalid => Self::DeflateInvalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use drawgate_protocol::close::REASON_BYTES_MAX;

    use super::*;

    /// Ends where nothing of ours is sent: nobody is there, or the code is the other side's.
    const SILENT: [Reason; 13] = [
        Reason::ProxyUntrusted,
        Reason::ProxyHeaderInvalid,
        Reason::ProxyHeaderTimeout,
        Reason::TlsHandshakeFailed,
        Reason::TlsTimeout,
        Reason::TlsFull,
        Reason::RequestIncomplete,
        Reason::CloseTimeout,
        Reason::ClosedByClient,
        Reason::ClosedByApplication,
        Reason::ConnectionLost,
        Reason::ConnectionReset,
        Reason::ForcedShutdown,
    ];

    #[test]
    fn labels_are_unique_snake_case_words() {
        let mut seen = HashSet::new();
        for reason in Reason::ALL {
            let label = reason.row().label;
            assert!(seen.insert(label), "{label} comes twice");
            let is_word = |word: &str| {
                word.starts_with(|first: char| first.is_ascii_lowercase())
                    && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            assert!(label.split('_').all(is_word), "{label}");
        }
    }

    #[test]
    fn a_label_is_its_variants_name() {
        for reason in Reason::ALL {
            let name = format!("{reason:?}").to_ascii_lowercase();
            assert_eq!(reason.row().label.replace('_', ""), name);
        }
    }

    #[test]
    fn titles_are_in_title_case_and_say_what_the_label_says() {
        for reason in Reason::ALL {
            let row = reason.row();
            for word in row.title.split(' ') {
                assert!(word.starts_with(|first: char| first.is_ascii_uppercase()), "{}", row.title);
            }
            let from_title = row.title.to_ascii_lowercase().replace(' ', "_").replace('-', "");
            assert_eq!(from_title, row.label);
        }
    }

    #[test]
    fn close_reasons_fit_a_control_frame() {
        for reason in Reason::ALL {
            let row = reason.row();
            assert_eq!(row.close_reason, format!("{}: {}", row.label, row.sentence));
            assert!(row.close_reason.len() <= REASON_BYTES_MAX, "{}", row.close_reason);
        }
    }

    #[test]
    fn sentences_need_no_escaping_and_have_no_full_stop() {
        for reason in Reason::ALL {
            let row = reason.row();
            let text = [row.label, row.title, row.sentence].concat();
            let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            assert!(text.bytes().all(is_plain), "{text}");
            assert!(!row.sentence.ends_with('.') && !row.sentence.is_empty(), "{}", row.sentence);
        }
    }

    #[test]
    fn statuses_are_refusals() {
        for status in Reason::ALL.iter().filter_map(|reason| reason.row().status) {
            assert!((400..=599).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_row_is_told_to_the_client_or_named_here_as_silent() {
        for reason in Reason::ALL {
            let row = reason.row();
            let is_told = row.status.is_some() || row.close.is_some();
            assert_ne!(is_told, SILENT.contains(&reason), "{}", row.label);
        }
    }

    #[test]
    fn every_violation_has_a_row_of_its_own_with_its_close_code() {
        let mut seen = HashSet::new();
        for violation in Violation::ALL {
            let reason = Reason::from(violation);
            assert!(seen.insert(reason), "{reason:?} stands for two violations");
            assert_eq!(reason.row().close, Some(violation.close_code()), "{violation}");
            assert_eq!(reason.row().status, None, "{violation}");
        }
    }

    #[test]
    fn u09_those_who_are_refused_for_want_of_room_are_told_to_come_back_at_different_times() {
        for reason in Reason::ALL {
            let row = reason.row();
            let told: BTreeSet<_> = (0..1000).map(|bits| row.retry_after_seconds(bits)).collect();
            let Some(least) = row.retry.after_seconds().filter(|_| row.status == Some(503)) else {
                assert!(told.iter().eq([&row.retry.after_seconds()]), "{}", row.label);
                continue;
            };
            assert!(told.into_iter().eq((least..=2 * least).map(Some)), "{}", row.label);
        }
    }

    #[test]
    fn overload_always_says_when_to_come_back() {
        for reason in Reason::ALL {
            let row = reason.row();
            if matches!(row.status, Some(429 | 503)) {
                assert!(row.retry.after_seconds().is_some(), "{}", row.label);
            }
        }
    }
}
