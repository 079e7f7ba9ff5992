//! What comes out, read strictly: one way to write each thing, and nothing left over.

use serde_json::Value;

use crate::error::reason_phrase;

/// One response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, values.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What a poll was told.
#[derive(Clone, Debug)]
pub struct Answer {
    pub cursor: String,
    pub messages: Vec<Value>,
    pub gap: bool,
    pub reset: bool,
    pub closed: Vec<String>,
}

/// Whether the request had HEAD for its method, whose answer has no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Present,
    Absent,
}

impl Response {
    /// The response that `input` begins with and its length; `None` if it is not whole.
    ///
    /// # Panics
    /// If it is not exactly what this server may write.
    pub fn parse(input: &[u8], body: Body) -> Option<(Response, usize)> {
        let head_len = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&input[..head_len - 4]).expect("a head is text");
        let mut lines = head.split("\r\n");
        let status = parse_status(lines.next().unwrap());
        let fields: Vec<_> = lines.map(parse_field).collect();
        let mut response = Response { status, fields, body: Vec::new() };
        response.check_fields();
        let len = response.field("content-length").map_or(0, |len| len.parse().expect("a number"));
        let len = if body == Body::Absent { 0 } else { len };
        response.body = input.get(head_len..head_len + len)?.to_vec();
        Some((response, head_len + len))
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name).map(|field| &*field.1);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is given twice");
        value
    }

    /// Whether it is the last of its connection.
    pub fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {}", self.body.escape_ascii()),
        }
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as a poll's answer, whose members are these and no others.
    #[track_caller]
    pub fn answer(&self) -> Answer {
        assert_eq!((self.status, self.field("content-type")), (200, Some("application/json")), "{self:?}");
        let Value::Object(mut members) = self.json() else { panic!("not an object: {}", self.text()) };
        let mut take = |name: &str| members.remove(name);
        let flag = |value: Option<Value>| value.is_some_and(|value| value == Value::Bool(true));
        let list = |value: Option<Value>| value.map_or(Vec::new(), |value| value.as_array().unwrap().clone());
        let answer = Answer {
            cursor: take("cursor").unwrap().as_str().unwrap().to_owned(),
            messages: take("messages").unwrap().as_array().unwrap().clone(),
            gap: flag(take("gap")),
            reset: flag(take("reset")),
            closed: list(take("closed")).iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        };
        assert!(members.is_empty(), "unknown members: {members:?}");
        answer
    }

    /// That it is a problem of RFC 9457 with one line for a person.
    #[track_caller]
    pub fn check_problem(&self) {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["title"], reason_phrase(self.status));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with('.') && !detail.contains('\n'), "{detail:?}");
    }

    fn check_fields(&self) {
        for (at, field) in self.fields.iter().enumerate() {
            assert!(self.fields[..at].iter().all(|before| before.0 != field.0), "{} twice", field.0);
        }
        assert_eq!(self.field("transfer-encoding"), None);
        if self.status < 200 {
            assert_eq!(self.fields, []);
            return;
        }
        assert_eq!(self.field("cache-control"), Some("no-store"));
        assert_eq!(self.field("x-content-type-options"), Some("nosniff"));
        let date = self.field("date").expect("a date");
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        let has_body = self.status != 204;
        assert_eq!(self.field("content-length").is_some(), has_body);
        assert_eq!(self.field("content-type").is_some(), has_body);
    }
}

impl Answer {
    /// The messages' data, where it is text.
    #[track_caller]
    pub fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message["data"].as_str().expect("text")).collect()
    }
}

fn parse_status(line: &str) -> u16 {
    let rest = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no status line: {line:?}"));
    let (digits, reason) = rest.split_once(' ').expect("a reason");
    assert_eq!(digits.len(), 3);
    let status = digits.parse().unwrap();
    assert_eq!(reason, reason_phrase(status));
    status
}

fn parse_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name:?}");
    assert!(value.trim() == value && value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
    (name.to_ascii_lowercase(), value.to_owned())
}
