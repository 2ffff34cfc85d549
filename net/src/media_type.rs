//! `Content-Type`, read as Go's `mime.ParseMediaType` reads it, as far as forms need it.

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// What a content type means for a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// The type is `application/x-www-form-urlencoded`, in any case.
    pub(crate) is_form: bool,
    /// Go's complaint. Only bad parameters leave the type itself readable.
    pub(crate) error: Option<&'static str>,
}

/// Reads the value of a `Content-Type` header.
pub(crate) fn parse(value: &[u8]) -> MediaType {
    if value.eq_ignore_ascii_case(FORM) {
        return MediaType { is_form: true, error: None };
    }
    let (base, parameters) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
    let base = base.trim_ascii();
    if let Err(complaint) = check_type(base) {
        return MediaType { is_form: false, error: Some(complaint) };
    }
    match check_parameters(parameters) {
        Ok(()) => MediaType { is_form: base.eq_ignore_ascii_case(FORM), error: None },
        Err(Parameters::Invalid) => {
            MediaType { is_form: base.eq_ignore_ascii_case(FORM), error: Some("mime: invalid media parameter") }
        }
        Err(Parameters::Duplicate) => MediaType { is_form: false, error: Some("mime: duplicate parameter name") },
    }
}

/// `token`, or `token/token`.
fn check_type(text: &[u8]) -> Result<(), &'static str> {
    let (first, rest) = take_token(text);
    if first.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let subtype = rest.strip_prefix(b"/").ok_or("mime: expected slash after first token")?;
    match take_token(subtype) {
        ([], _) => Err("mime: expected token after slash"),
        (_, []) => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// What is wrong with the parameters.
enum Parameters {
    Invalid,
    Duplicate,
}

fn check_parameters(mut rest: &[u8]) -> Result<(), Parameters> {
    let mut names: Vec<&[u8]> = Vec::new();
    while !rest.trim_ascii().is_empty() {
        let Some((name, after)) = take_parameter(rest) else {
            // A `;` at the end is not an error.
            return if rest.trim_ascii() == b";" { Ok(()) } else { Err(Parameters::Invalid) };
        };
        if names.iter().any(|seen| seen.eq_ignore_ascii_case(name)) {
            return Err(Parameters::Duplicate);
        }
        names.push(name);
        rest = after;
    }
    Ok(())
}

/// Takes `; name = value`: the name, and what follows.
fn take_parameter(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b";")?;
    let (name, rest) = take_token(text.trim_ascii_start());
    let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = if value.starts_with(b"\"") { skip_quoted(value)? } else { skip_token(value)? };
    (!name.is_empty()).then_some((name, rest))
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let (token, rest) = take_token(text);
    (!token.is_empty()).then_some(rest)
}

/// What follows the quoted string at the start of `text`. A backslash escapes only what is special in a token.
fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut at = 1;
    loop {
        match (*text.get(at)?, text.get(at + 1)) {
            (b'"', _) => return Some(&text[at + 1..]),
            (b'\\', Some(&next)) if is_special(next) => at += 2,
            _ => at += 1,
        }
    }
}

fn take_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| !byte.is_ascii_graphic() || is_special(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from etcd 3.4.23 (Go 1.19), whose error 210 has these texts as cause. `$` stands for the form's type.
    #[test]
    fn content_types_are_read_as_go_reads_them() {
        let invalid = Some("mime: invalid media parameter");
        let slash = Some("mime: expected slash after first token");
        let after = Some("mime: unexpected content after media subtype");
        let none = Some("mime: no media type");
        let duplicate = Some("mime: duplicate parameter name");
        for (value, is_form, error) in [
            ("$", true, None),
            ("APPLICATION/X-WWW-FORM-URLENCODED", true, None),
            ("$; charset=utf-8", true, None),
            ("$;", true, None),
            ("$; ", true, None),
            ("$; a=b;", true, None),
            ("$  ;a=b", true, None),
            ("$; a = b", true, None),
            ("$; a=\"x\"", true, None),
            ("$; a=\"x\\\"y\"", true, None),
            ("$; a=\"\"", true, None),
            ("$; a*0=b; a*1=c", true, None),
            ("$; charset", true, invalid),
            ("$; charset=", true, invalid),
            ("$; a=\"x", true, invalid),
            ("$; ;a=b", true, invalid),
            ("$; a=b c", true, invalid),
            ("$; a=\"b\" c", true, invalid),
            ("$; a=b;; c=d", true, invalid),
            ("$; =b", true, invalid),
            ("$; a=b; a=c", false, duplicate),
            ("$; a=b; A=b", false, duplicate),
            ("$; a*0=b; a*0=c", false, duplicate),
            ("$,text/plain", false, after),
            ("$ x", false, after),
            ("$/x", false, after),
            ("foo/bar/baz", false, after),
            ("foo", false, None),
            ("text/plain", false, None),
            ("text/plain; a*=utf-8''x", false, None),
            ("multipart/form-data; boundary=x", false, None),
            ("text/plain; x", false, invalid),
            ("foo/", false, Some("mime: expected token after slash")),
            ("foo bar", false, slash),
            ("t(ext", false, slash),
            (";", false, none),
            ("; a=b", false, none),
            ("/foo", false, none),
            ("@; x", false, none),
            ("", false, none),
        ] {
            let value = value.replace('$', "application/x-www-form-urlencoded");
            assert_eq!(parse(value.as_bytes()), MediaType { is_form, error }, "{value}");
        }
    }
}
