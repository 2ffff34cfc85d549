//! JSON as Go's decoder reads it: what it takes, and the words in which it refuses the rest.
//!
//! A document is checked as a whole, and then looked into where it lies: nothing is built from the parts that nobody
//! asks for. Depth costs a byte per level, and no stack.

mod scan;

use std::iter;

use scan::Scanner;

/// One value of a valid document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// From the first byte of the value to its last.
    text: &'a [u8],
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number of any size.
    Number,
    /// A text.
    String,
    /// A list.
    Array,
    /// Names with values.
    Object,
}

impl Kind {
    /// Go's name for it, in what it says of a value in the wrong place.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// Reads a document of one value, with nothing but space around it. The error is that of Go's `json.Unmarshal`.
pub fn whole(text: &[u8]) -> Result<Value<'_>, String> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value()?;
    scanner.end()?;
    Ok(Value { text: value })
}

/// Reads the first value, whatever follows it, as the first call of Go's `json.Decoder` does.
pub fn first(text: &[u8]) -> Result<Value<'_>, String> {
    Scanner::new(text).value().map(|text| Value { text })
}

/// Whether Go takes `name` for the field `field`: in any case, with the two letters beyond ASCII that fold into it.
pub fn is_field(name: &str, field: &str) -> bool {
    let folded = name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(field.chars().map(|c| c.to_ascii_lowercase()))
}

impl<'a> Value<'a> {
    /// What it is.
    pub fn kind(self) -> Kind {
        match self.text.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The members of an object in their order, duplicates among them. Nothing else has any.
    pub fn members(self) -> impl Iterator<Item = (String, Value<'a>)> {
        let mut scanner = self.inside(Kind::Object);
        iter::from_fn(move || {
            let name = Value { text: scanner.next_part()? };
            Some((name.string()?, Value { text: scanner.next_part()? }))
        })
    }

    /// The items of an array in their order. Nothing else has any.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let mut scanner = self.inside(Kind::Array);
        iter::from_fn(move || scanner.next_part().map(|text| Value { text }))
    }

    fn inside(self, kind: Kind) -> Scanner<'a> {
        let inner = if self.kind() == kind { &self.text[1..self.text.len() - 1] } else { &[] };
        Scanner::new(inner)
    }

    /// The text of a string. As in Go, what can not be a character becomes U+FFFD: each byte that is not valid UTF-8,
    /// each half of a surrogate pair that stands alone.
    pub fn string(self) -> Option<String> {
        let mut rest = self.text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let mut out = String::with_capacity(rest.len());
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            push_lossy(&mut out, &rest[..at]);
            let (c, length) = escaped(&rest[at..]);
            out.push(c);
            rest = &rest[at + length..];
        }
        push_lossy(&mut out, rest);
        Some(out)
    }
}

fn push_lossy(out: &mut String, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// The character of the valid escape at the front, and the length of that escape.
fn escaped(text: &[u8]) -> (char, usize) {
    let plain = |c| (c, 2);
    match text[1] {
        b'b' => plain('\u{8}'),
        b'f' => plain('\u{c}'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'u' => unicode(text),
        other => plain(char::from(other)),
    }
}

fn unicode(text: &[u8]) -> (char, usize) {
    /// Bytes of one such escape.
    const LENGTH: usize = 6;
    let Some(unit) = code_unit(text) else { return (char::REPLACEMENT_CHARACTER, LENGTH) };
    let second = code_unit(&text[LENGTH..]);
    let pair = second.and_then(|second| char::decode_utf16([unit, second]).next()?.ok()).filter(|c| c.len_utf16() == 2);
    match (pair, char::from_u32(u32::from(unit))) {
        (Some(c), _) => (c, 2 * LENGTH),
        (None, Some(c)) => (c, LENGTH),
        (None, None) => (char::REPLACEMENT_CHARACTER, LENGTH),
    }
}

/// The number in `\uXXXX`.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &[u8]) -> String {
        first(document).expect("valid").string().expect("a string")
    }

    #[test]
    fn strings_are_unescaped_and_what_is_no_character_is_replaced() {
        for (document, want) in [
            (&br#""""#[..], ""),
            (br#""a\"\\\/\b\f\n\r\t\u00e9""#, "a\"\\/\u{8}\u{c}\n\r\t\u{e9}"),
            (br#""\ud83d\ude00!""#, "\u{1f600}!"),
            (br#""\ud800""#, "\u{fffd}"),
            (br#""\ud800\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (br#""\udc00x\u0041\u0042""#, "\u{fffd}xAB"),
            (b"\"\xff\xe2\x82x\"", "\u{fffd}\u{fffd}\u{fffd}x"),
        ] {
            assert_eq!(text(document), want, "{}", String::from_utf8_lossy(document));
        }
    }

    #[test]
    fn members_and_items_come_in_order() {
        let document = br#" { "a" : [1,[2,{}], "x" ] ,"a":null,"\u0062":{"c":true} } "#;
        let value = whole(document).expect("valid");
        let members: Vec<_> = value.members().map(|(name, value)| (name, value.kind())).collect();
        let want = [("a", Kind::Array), ("a", Kind::Null), ("b", Kind::Object)];
        assert_eq!(members, want.map(|(name, kind)| (name.to_owned(), kind)));
        let list = value.members().next().expect("a member").1;
        let kinds: Vec<_> = list.items().map(Value::kind).collect();
        assert_eq!(kinds, [Kind::Number, Kind::Array, Kind::String]);
        assert_eq!((list.members().count(), value.items().count(), list.string()), (0, 0, None));
    }

    #[test]
    fn what_follows_the_first_value_is_nobodys() {
        assert_eq!(first(b"nullx").map(Value::kind), Ok(Kind::Null));
        assert_eq!(first(b"{}\xff").map(Value::kind), Ok(Kind::Object));
        assert_eq!(whole(b" {} \n").map(Value::kind), Ok(Kind::Object));
        assert_eq!(whole(b"{}}"), Err("invalid character '}' after top-level value".to_owned()));
    }

    #[test]
    fn names_are_compared_as_go_compares_them() {
        for (name, field, want) in [
            ("peerURLs", "peerURLs", true),
            ("PEERURLS", "peerURLs", true),
            ("peerURL\u{17f}", "peerURLs", true),
            ("\u{212a}ey", "key", true),
            ("peerURL", "peerURLs", false),
            ("l\u{115}vel", "level", false),
        ] {
            assert_eq!(is_field(name, field), want, "{name}");
        }
    }
}
