//! Requests that cannot be understood: the answer that is sent before the connection is closed.

use super::date::DateStamp;
use super::status::Status;

/// Why a request was refused before anybody looked at what it asks for.
///
/// After one of these nothing on the connection can be trusted to begin a request: send the answer and close. The texts
/// and the missing `Date` are Go's, which writes these answers past its response writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The message breaks the grammar, or two of its statements about its own length disagree.
    #[error("the request is malformed, or ambiguous about where it ends")]
    Malformed,
    /// An HTTP/1.1 request without a `Host` header.
    #[error("an HTTP/1.1 request has no Host header")]
    MissingHost,
    /// The `Host` header has a byte that no host has.
    #[error("the Host header is malformed")]
    MalformedHost,
    /// A header's name is not a token.
    #[error("a header has an invalid name")]
    InvalidHeaderName,
    /// A header's value has a control byte.
    #[error("a header has an invalid value")]
    InvalidHeaderValue,
    /// `Expect` asks for something else than `100-continue`.
    #[error("the request expects something else than 100-continue")]
    ExpectationFailed,
    /// The head is longer than [`super::request::Limits`] allows.
    #[error("the request's head is over the limit")]
    HeadTooLarge,
    /// A transfer coding other than exactly one `chunked`.
    #[error("the request's transfer encoding is not supported")]
    UnsupportedTransferEncoding,
    /// There is no memory for the rest of a large request.
    #[error("the server has no memory for the rest of the request")]
    NoRoom,
    /// Not HTTP/1.
    #[error("the request's protocol version is not supported")]
    UnsupportedVersion,
}

impl Reject {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::MissingHost,
        Self::MalformedHost,
        Self::InvalidHeaderName,
        Self::InvalidHeaderValue,
        Self::ExpectationFailed,
        Self::HeadTooLarge,
        Self::UnsupportedTransferEncoding,
        Self::NoRoom,
        Self::UnsupportedVersion,
    ];

    /// The status of the answer.
    pub const fn status(self) -> Status {
        match self {
            Self::Malformed
            | Self::MissingHost
            | Self::MalformedHost
            | Self::InvalidHeaderName
            | Self::InvalidHeaderValue => Status::BadRequest,
            Self::ExpectationFailed => Status::ExpectationFailed,
            Self::HeadTooLarge => Status::HeaderFieldsTooLarge,
            Self::UnsupportedTransferEncoding => Status::NotImplemented,
            Self::NoRoom => Status::ServiceUnavailable,
            Self::UnsupportedVersion => Status::VersionNotSupported,
        }
    }

    /// What Go adds to the status text (of [`Reject::NoRoom`], which Go does not have: etcd's words for it), in the status line and in the body.
    const fn detail(self) -> &'static str {
        match self {
            Self::MissingHost => ": missing required Host header",
            Self::MalformedHost => ": malformed Host header",
            Self::InvalidHeaderName => ": invalid header name",
            Self::InvalidHeaderValue => ": invalid header value",
            Self::UnsupportedVersion => ": unsupported protocol version",
            Self::NoRoom => ": too many requests",
            Self::Malformed | Self::ExpectationFailed | Self::HeadTooLarge | Self::UnsupportedTransferEncoding => "",
        }
    }

    /// Appends the complete answer. The connection must be closed after it.
    pub fn write(self, out: &mut Vec<u8>, date: &DateStamp) {
        let (status, detail) = (self.status().text(), self.detail());
        let mut push = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        push(&["HTTP/1.1 ", status, detail, "\r\n"]);
        if self == Self::ExpectationFailed {
            push(&["Connection: close\r\nDate: "]);
            out.extend_from_slice(date.as_bytes());
            out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        push(&["Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"]);
        if self == Self::UnsupportedTransferEncoding {
            push(&["Unsupported transfer encoding"]);
        } else {
            push(&[status, detail]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from etcd 3.4.23 (Go 1.19), all but the one that Go does not have.
    #[test]
    fn answers_are_those_of_go() {
        let plain = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n";
        for (reject, status_line, body) in [
            (Reject::Malformed, "400 Bad Request", "400 Bad Request"),
            (
                Reject::MissingHost,
                "400 Bad Request: missing required Host header",
                "400 Bad Request: missing required Host header",
            ),
            (Reject::MalformedHost, "400 Bad Request: malformed Host header", "400 Bad Request: malformed Host header"),
            (Reject::InvalidHeaderName, "400 Bad Request: invalid header name", "400 Bad Request: invalid header name"),
            (
                Reject::InvalidHeaderValue,
                "400 Bad Request: invalid header value",
                "400 Bad Request: invalid header value",
            ),
            (Reject::HeadTooLarge, "431 Request Header Fields Too Large", "431 Request Header Fields Too Large"),
            (Reject::UnsupportedTransferEncoding, "501 Not Implemented", "Unsupported transfer encoding"),
            (
                Reject::NoRoom,
                "503 Service Unavailable: too many requests",
                "503 Service Unavailable: too many requests",
            ),
            (
                Reject::UnsupportedVersion,
                "505 HTTP Version Not Supported: unsupported protocol version",
                "505 HTTP Version Not Supported: unsupported protocol version",
            ),
        ] {
            let mut out = Vec::new();
            reject.write(&mut out, &DateStamp::at(0));
            assert_eq!(String::from_utf8_lossy(&out), format!("HTTP/1.1 {status_line}\r\n{plain}{body}"));
        }
        let mut out = Vec::new();
        Reject::ExpectationFailed.write(&mut out, &DateStamp::at(1_795_502_721));
        let want = "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n\
            Date: Tue, 24 Nov 2026 06:45:21 GMT\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}
