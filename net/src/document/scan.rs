//! Where a value ends, or what is wrong with it.

/// Go's limit for arrays and objects in each other.
const DEPTH_MAX: usize = 10_000;

/// A place in a document.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The brackets that are open, the outermost first.
    open: Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// Moves behind the next value and returns its text; the error is Go's.
    pub(super) fn value(&mut self) -> Result<&'a [u8], String> {
        self.skip_space();
        let start = self.at;
        loop {
            self.skip_space();
            let complete = match self.peek() {
                Some(b'{') => {
                    self.enter(b'{')?;
                    self.closes(b'}') || self.name()?
                }
                Some(b'[') => {
                    self.enter(b'[')?;
                    self.closes(b']')
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.unexpected("looking for beginning of value")),
            };
            if complete && self.leave()? {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    /// Checks that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.unexpected("after top-level value")) }
    }

    /// The next name or value of the inside of a valid array or object.
    pub(super) fn next_part(&mut self) -> Option<&'a [u8]> {
        self.skip(|byte| is_space(byte) || byte == b',' || byte == b':');
        self.value().ok()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        self.at += self.text[self.at..].iter().take_while(|byte| skipped(**byte)).count();
    }

    fn skip_space(&mut self) {
        self.skip(is_space);
    }

    fn enter(&mut self, bracket: u8) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(self.unexpected("exceeded max depth"));
        }
        self.open.push(bracket);
        self.at += 1;
        Ok(())
    }

    /// Whether what was just opened is closed at once.
    fn closes(&mut self, bracket: u8) -> bool {
        self.skip_space();
        let closes = self.peek() == Some(bracket);
        if closes {
            self.at += 1;
            self.open.pop();
        }
        closes
    }

    /// Behind a value: closes what ends there, and moves to the next value. True if there is none, for nothing is open.
    fn leave(&mut self) -> Result<bool, String> {
        while let Some(open) = self.open.last().copied() {
            self.skip_space();
            match (open, self.peek()) {
                (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                    self.at += 1;
                    self.open.pop();
                }
                (b'{', Some(b',')) => {
                    self.at += 1;
                    return self.name();
                }
                (_, Some(b',')) => {
                    self.at += 1;
                    return Ok(false);
                }
                (b'{', _) => return Err(self.unexpected("after object key:value pair")),
                _ => return Err(self.unexpected("after array element")),
            }
        }
        Ok(true)
    }

    /// A name with its colon. Always false: its value is still to come.
    fn name(&mut self) -> Result<bool, String> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(false)
    }

    /// Always true, as for all values without parts: it is complete.
    fn string(&mut self) -> Result<bool, String> {
        self.at += 1;
        loop {
            self.skip(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(true);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    self.expect(|byte| byte.is_ascii_hexdigit(), "in \\u hexadecimal character escape")?;
                }
            }
            _ => return Err(self.broken("in string escape code")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<bool, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit();
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        self.expect(is_digit, "in numeric literal")?;
        if !leading_zero {
            self.skip(is_digit);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.expect(is_digit, "after decimal point in numeric literal")?;
            self.skip(is_digit);
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.expect(is_digit, "in exponent of numeric literal")?;
            self.skip(is_digit);
        }
        Ok(true)
    }

    fn literal(&mut self, word: &str) -> Result<bool, String> {
        for want in word.bytes() {
            let context = format!("in literal {word} (expecting '{}')", char::from(want));
            self.expect(|byte| byte == want, &context)?;
        }
        Ok(true)
    }

    /// One byte inside of a value.
    fn expect(&mut self, is_right: impl Fn(u8) -> bool, context: &str) -> Result<(), String> {
        if !self.peek().is_some_and(is_right) {
            return Err(self.broken(context));
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self, context: &str) -> String {
        self.peek().map_or_else(|| "unexpected end of JSON input".to_owned(), |byte| invalid(byte, context))
    }

    /// As [`Self::unexpected`], where Go sees the end as a space.
    fn broken(&self, context: &str) -> String {
        invalid(self.peek().unwrap_or(b' '), context)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Go shows a byte as the character of that number.
fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\n' => "\\n".to_owned(),
        0x0b => "\\v".to_owned(),
        0x0c => "\\f".to_owned(),
        b'\r' => "\\r".to_owned(),
        0..b' ' | 0x7f => format!("\\x{byte:02x}"),
        0x80..=0xa0 | 0xad => format!("\\u{byte:04x}"),
        _ => char::from(byte).to_string(),
    };
    format!("invalid character '{shown}' {context}")
}

#[cfg(test)]
mod tests {
    use super::super::whole;

    /// All of them tried on etcd 3.4.23, built with Go 1.19.
    #[test]
    fn faults_are_named_in_the_words_of_go() {
        const END: &str = "unexpected end of JSON input";
        let in_pieces = [
            (&b"x"[..], "'x' looking for beginning of value"),
            (b"[1,]", "']' looking for beginning of value"),
            (b"{\"a\":}", "'}' looking for beginning of value"),
            (b"+1", "'+' looking for beginning of value"),
            (b"\xef\xbb\xbf{}", "'\u{ef}' looking for beginning of value"),
            (b"\x00", "'\\x00' looking for beginning of value"),
            (b"\x0b{}", "'\\v' looking for beginning of value"),
            (b"{\"a\":\x80}", "'\\u0080' looking for beginning of value"),
            (b"{\"a\":1,}", "'}' looking for beginning of object key string"),
            (b"{'a':1}", "'\\'' looking for beginning of object key string"),
            (b"{\"a\" 1}", "'1' after object key"),
            (b"{\"a\":1 \"b\":2}", "'\"' after object key:value pair"),
            (b"{\"a\":01}", "'1' after object key:value pair"),
            (b"[1 2]", "'2' after array element"),
            (b"{\"a\":1} x", "'x' after top-level value"),
            (b"01", "'1' after top-level value"),
            (b"tru", "' ' in literal true (expecting 'e')"),
            (b"tRue", "'R' in literal true (expecting 'r')"),
            (b"falsx", "'x' in literal false (expecting 'e')"),
            (b"nul", "' ' in literal null (expecting 'l')"),
            (b"\"a\nb\"", "'\\n' in string literal"),
            (b"\"a\\xb\"", "'x' in string escape code"),
            (b"\"\\", "' ' in string escape code"),
            (b"\"\\\xff\"", "'\u{ff}' in string escape code"),
            (b"\"\\u12x4\"", "'x' in \\u hexadecimal character escape"),
            (b"\"\\u12", "' ' in \\u hexadecimal character escape"),
            (b"-x", "'x' in numeric literal"),
            (b"1.", "' ' after decimal point in numeric literal"),
            (b"1ex", "'x' in exponent of numeric literal"),
            (b"1e+", "' ' in exponent of numeric literal"),
        ];
        for (text, want) in in_pieces {
            assert_eq!(whole(text), Err(format!("invalid character {want}")), "{}", String::from_utf8_lossy(text));
        }
        for text in ["", " ", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "[", "[1", "[1,", "\"abc"] {
            assert_eq!(whole(text.as_bytes()), Err(END.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_number_of_json_is_one() {
        for text in ["0", "-0", "10", "1.50", "1e9", "1E-9", "-0.1e+10", "1e999"] {
            assert!(whole(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn depth_is_limited_as_in_go() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(whole(&nested(10_000)).is_ok());
        assert_eq!(whole(&nested(10_001)), Err("invalid character '[' exceeded max depth".to_owned()));
    }
}
