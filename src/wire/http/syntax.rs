//! The small building blocks of HTTP fields (RFC 9110 §5.6), shared by requests,
//! bodies and answers. They judge bytes and know nothing of their meaning.

/// Whether a byte may stand in a token, such as a field's name (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    let other = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`');
    byte.is_ascii_alphanumeric() || other || byte == b'|' || byte == b'~'
}

/// Whether `text` is a token: at least one token byte and nothing else.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a byte may stand in a field's value (RFC 9110 §5.5): visible, blank, tab or
/// obs-text, but no control character.
pub(super) fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Without the optional white space around it (RFC 9110 §5.6.3). Unlike
/// `trim_ascii` this leaves form feeds and line ends where they are.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, trimmed; empty ones are kept, because
/// whether they matter depends on the field.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim)
}

/// One plain decimal number: digits only, and in 64 bits (RFC 9110 §8.6).
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether some line of a head ends without a CR, which httparse lets pass. Where a field's
/// name begins a line has ended, so that a few bytes tell what the whole head would.
pub(super) fn has_bare_lf(text: &[u8], fields: &[httparse::Header]) -> bool {
    let begins = |field: &httparse::Header| field.name.as_ptr().addr() - text.as_ptr().addr();
    let ends_bare = |at: usize| text.get(at.wrapping_sub(2)) != Some(&b'\r');
    fields.iter().any(|field| ends_bare(begins(field))) || !text.ends_with(b"\r\n\r\n")
}
