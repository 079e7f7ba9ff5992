//! Who may: the publisher's bearer token and the subscribers' signed tokens.

use crate::error::{Refusal, Refused};
use crate::time::Timestamp;
use crate::wire::http::request::RequestHead;
use crate::wire::http::target::Query;
use crate::wire::jwt::{self, Grant, TokenError};

/// The secrets of a node; where there are none, everybody may. There may be several, so
/// that one can be replaced while the other is still in use.
#[derive(Debug, Default)]
pub struct Keys {
    /// `--publish-token-file`: what the publisher listener asks for, any of them.
    pub publish_tokens: Vec<Token>,
    /// `--subscribe-key-file`: what subscribers' tokens are signed with, any of them.
    pub subscribe_keys: Vec<jwt::Key>,
}

/// A bearer token; never shown.
pub struct Token(Vec<u8>);

impl Token {
    /// A token, from its file's content; white space around it does not count.
    pub fn new(content: &str) -> Option<Token> {
        let text = content.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Token(text.into()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Keys {
    /// Whether a request may enter the publisher's door.
    pub fn admit_publisher(&self, head: &RequestHead) -> Result<(), Refusal> {
        if self.publish_tokens.is_empty() {
            return Ok(());
        }
        let given = bearer(head).ok_or(Refusal::Unauthorized)?;
        // All are compared, so that the time tells nothing of which it was.
        let matches = self.publish_tokens.iter().filter(|token| jwt::constant_time_eq(given, &token.0));
        if matches.count() > 0 { Ok(()) } else { Err(Refusal::Unauthorized) }
    }

    /// What a subscriber may; `None` for everything.
    pub fn admit_subscriber(&self, head: &RequestHead, now: Timestamp) -> Result<Option<Grant>, Refused> {
        if self.subscribe_keys.is_empty() {
            return Ok(None);
        }
        let in_query = || Query::new(head.query).find(|pair| pair.0 == "token").map(|pair| pair.1.as_bytes());
        let token = bearer(head).or_else(in_query).ok_or(Refusal::Unauthorized)?;
        let mut refused = TokenError::Signature;
        for key in &self.subscribe_keys {
            match jwt::verify(token, key, now) {
                Ok(grant) => return Ok(Some(grant)),
                Err(TokenError::Signature) => {}
                Err(other) => refused = other,
            }
        }
        Err(refuse_token(refused))
    }
}

/// The credentials of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer<'a>(head: &RequestHead<'a>) -> Option<&'a [u8]> {
    let (scheme, token) = head.authorization?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn refuse_token(error: TokenError) -> Refused {
    let what = match error {
        TokenError::Malformed => "The token is malformed.",
        TokenError::Algorithm => "The token must be signed with HS256.",
        TokenError::Signature => "The token's signature is wrong.",
        TokenError::Expired => "The token has expired.",
        TokenError::NotYet => "The token is not valid yet.",
        TokenError::NoChannels => "The token's \"sub\" is not a list of channel patterns.",
    };
    Refused::because(Refusal::Unauthorized, what)
}
