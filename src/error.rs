//! Why a peer is refused, and why a start fails. Two kinds that never mix.
//!
//! A [`Refusal`] is the peer's fault (or our being full): it becomes a status and a
//! line that a person understands. A [`StartError`] is the world's or the
//! operator's: it becomes a line on stderr and an exit code.

use std::fmt;

/// Whether the connection can be used again after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The request's end is known and nothing is wrong with the framing.
    KeepAlive,
    /// Where the next request begins is unknown, or the peer is not to be trusted.
    Close,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal $after:ident $detail:literal,)*) => {
        /// Why a request is refused. Each reason has a status, a sentence for a
        /// person, and says whether the connection lives on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// All reasons, for tables and tests.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The HTTP status.
            pub fn status(self) -> u16 { match self { $(Refusal::$name => $status,)* } }

            /// One line that a person understands.
            pub fn detail(self) -> &'static str { match self { $(Refusal::$name => $detail,)* } }

            /// Whether the connection can be used again.
            pub fn afterwards(self) -> Afterwards {
                match self { $(Refusal::$name => Afterwards::$after,)* }
            }
        }
    };
}

refusals! {
    // Framing (RFC 9112): the next request's place is in doubt, so all of these close.
    /// Not HTTP at all, or a malformed request line or field.
    Malformed = 400 Close "The request is not well-formed HTTP/1.1.",
    /// A line ends in LF without CR, or CR stands alone (RFC 9112 §2.2).
    BareLineEnd = 400 Close "A line must end in CR LF.",
    /// HTTP/1.1 without a Host field (RFC 9112 §3.2).
    HostMissing = 400 Close "The Host field is missing.",
    /// More than one Host field, or an invalid one.
    HostInvalid = 400 Close "The Host field is invalid or given twice.",
    /// Not a request target that this server takes: raw UTF-8, a fragment, `*` or an authority.
    TargetInvalid = 400 Close "The request target is invalid.",
    /// Content-Length is not one plain decimal number.
    LengthInvalid = 400 Close "Content-Length must be one decimal number.",
    /// Both Content-Length and Transfer-Encoding: request smuggling (RFC 9112 §6.3).
    LengthAndEncoding = 400 Close "Content-Length and Transfer-Encoding exclude each other.",
    /// Transfer-Encoding in HTTP/1.0, or `chunked` not last or not once.
    EncodingInvalid = 400 Close "Transfer-Encoding must be \"chunked\", in HTTP/1.1.",
    /// A transfer coding that this server does not know.
    EncodingUnknown = 501 Close "This transfer coding is not supported; use \"chunked\".",
    /// A chunk's size, extension or line end is malformed.
    ChunkInvalid = 400 Close "The chunked body is malformed.",
    /// The request line is over 8 KiB.
    TargetTooLong = 414 Close "The request line is over 8 KiB.",
    /// The header fields are over 16 KiB or 100 in number.
    HeadersTooLarge = 431 Close "The header fields are over 16 KiB or 100 in number.",
    /// A major version that is not 1.
    VersionUnsupported = 505 Close "This server speaks HTTP/1.1 and HTTP/1.0.",
    /// The body is larger than the configured bound; it is not read.
    BodyTooLarge = 413 Close "The body is larger than this server takes.",
    /// An Expect field other than 100-continue.
    ExpectationUnknown = 417 Close "Only \"Expect: 100-continue\" is known.",
    /// The head was not complete in time.
    HeadTooSlow = 408 Close "The request's head took too long to arrive.",
    /// The body arrived at less than 500 bytes a second.
    BodyTooSlow = 408 Close "The request's body arrives too slowly.",
    /// A method that HTTP knows but no resource here has, or none at all.
    MethodUnknown = 501 Close "This method is not implemented.",

    // Routes.
    /// Nothing lives at this path on this listener.
    NotFound = 404 KeepAlive "There is nothing at this path.",
    /// The path is right, the method is not; the answer has Allow.
    MethodNotAllowed = 405 KeepAlive "This method is not allowed here.",
    /// A poll or anything else with a body where none belongs.
    BodyUnexpected = 400 Close "This request takes no body.",

    // Polls and publications.
    /// A name outside `[A-Za-z0-9_.:~@+-]{1,128}`, or a bad percent-encoding.
    ChannelInvalid = 400 KeepAlive "A channel name is 1 to 128 bytes of A-Z a-z 0-9 _ . : ~ @ + -.",
    /// Too many channels in one request.
    ChannelsTooMany = 400 KeepAlive "A request names at most 64 channels.",
    /// A query parameter that is not what it should be.
    QueryInvalid = 400 KeepAlive "A query parameter is malformed or given twice.",
    /// `after` is not a cursor.
    CursorInvalid = 400 KeepAlive "\"after\" is not a cursor that this service gave out.",
    /// `since`, `until`, `timeout` or `limit` is not a number in range.
    NumberInvalid = 400 KeepAlive "\"since\", \"until\", \"timeout\" and \"limit\" are whole numbers.",
    /// `ttl` is not a number of seconds.
    TtlInvalid = 400 KeepAlive "\"ttl\" is a whole number of seconds, from 1 to a year.",
    /// `ack` is not one of the levels.
    AckInvalid = 400 KeepAlive "\"ack\" is one of local, one, quorum.",
    /// `ack=one` without another node.
    AckUnreachable = 503 KeepAlive "No other node is there to acknowledge.",
    /// The acknowledgement did not come in time.
    AckTimeout = 503 KeepAlive "Published, but too few other nodes acknowledged in time; send it again with the same Idempotency-Key.",
    /// An Idempotency-Key that is empty, too long or not printable ASCII.
    KeyInvalid = 400 KeepAlive "An Idempotency-Key is 1 to 128 printable characters.",
    /// A Content-Type that is too long or not a media type.
    TypeInvalid = 400 KeepAlive "The Content-Type is not a media type of at most 128 bytes.",
    /// A body with a content coding.
    CodingUnsupported = 415 KeepAlive "A body with a Content-Encoding is not taken.",
    /// A JSON body that is none, nests too deep, or is not UTF-8.
    JsonInvalid = 400 KeepAlive "The body is not valid JSON nested at most 32 deep.",
    /// JSON that is not of the documented shape.
    JsonShape = 400 KeepAlive "The JSON does not have the documented members.",
    /// More publications in one batch than the bound.
    BatchTooLarge = 413 KeepAlive "A batch has at most 10,000 publications.",
    /// No such channel.
    ChannelUnknown = 404 KeepAlive "There is no such channel.",
    /// The channel was closed.
    ChannelClosed = 410 KeepAlive "The channel was closed.",
    /// No channel can be added: the bound is reached.
    ChannelsExhausted = 503 KeepAlive "This node holds as many channels as it may.",

    // Who may.
    /// No token where one is needed, or not the right one.
    Unauthorized = 401 KeepAlive "A valid bearer token is needed.",
    /// The token is good but not for these channels.
    Forbidden = 403 KeepAlive "The token does not allow these channels.",

    // Use cases.
    /// Its path is another's.
    UsecaseConflict = 409 KeepAlive "Another use case is called at this path.",
    /// A sub-task failed for good.
    BackendFailed = 502 KeepAlive "The back-ends could not do this.",
    /// The time for it is over.
    BackendSlow = 504 KeepAlive "The back-ends took too long.",
    /// Nobody is there to do it, or too many ask for it.
    BackendsBusy = 503 KeepAlive "The back-ends cannot take this now.",

    // We are full or going.
    /// The client has as many polls held or being answered as the operator lets it.
    PollsTooMany = 429 KeepAlive "This client has as many polls at once as it may.",
    /// The memory cap is reached and nothing is left to shed.
    Overloaded = 503 Close "This node is at its memory limit.",
}

impl Refusal {
    /// The reason phrase of the status (RFC 9110 §15), also the problem's title.
    pub fn title(self) -> &'static str {
        reason_phrase(self.status())
    }
}

/// A refusal with, where it helps, a sentence about this very request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// More precise than [`Refusal::detail`], in whose place it is shown.
    pub specific: Option<String>,
}

impl Refused {
    /// A refusal with a sentence of its own.
    pub fn because(reason: Refusal, specific: impl Into<String>) -> Refused {
        Refused { reason, specific: Some(specific.into()) }
    }

    /// The sentence that is shown.
    pub fn detail(&self) -> &str {
        self.specific.as_deref().unwrap_or(self.reason.detail())
    }
}

impl From<Refusal> for Refused {
    fn from(reason: Refusal) -> Refused {
        Refused { reason, specific: None }
    }
}

/// The reason phrase of every status that this server sends.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// Why the program ends, with the exit code that says so.
#[derive(Debug)]
pub enum StartError {
    /// The command line is wrong.
    Usage(String),
    /// A flag's, a variable's or a file's value is wrong.
    Config(String),
    /// An address cannot be bound.
    Bind(String),
    /// Anything else that the operating system refuses, at start or later.
    Run(String),
}

impl StartError {
    /// 2 usage, 78 bad configuration (EX_CONFIG), 69 cannot bind (EX_UNAVAILABLE), 1 run time.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Usage(_) => 2,
            StartError::Config(_) => 78,
            StartError::Bind(_) => 69,
            StartError::Run(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Usage(text)
            | StartError::Config(text)
            | StartError::Bind(text)
            | StartError::Run(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_known_status_and_a_sentence() {
        for refusal in Refusal::ALL {
            assert_ne!(refusal.title(), "Unknown", "{refusal:?}");
            assert!(refusal.detail().ends_with('.'), "{refusal:?}");
        }
    }
}
