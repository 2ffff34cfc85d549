//! Requests to the key space: parameters, and which operation they ask for.
//!
//! The order of the checks is etcd's, because the first one that fails is the answer.

use std::borrow::Cow;

use crate::decimal;
use crate::form::{self, FormError};
use crate::http::request::{Body, Method, Request};
use crate::media_type::{self, MediaType};

/// The content type of a request that names none.
const DEFAULT_TYPE: &[u8] = b"application/octet-stream";

/// What a request to the key space asks for. Names and values are decoded, borrowed where nothing was escaped.
///
/// `prev_index` 0 means no condition; `ttl` is in seconds, `None` to have none (and to clear an existing one).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the parameters of the same name, described in etcd's API")]
pub enum KeysRequest<'a> {
    /// GET and HEAD. `quorum` reads through consensus; HEAD never does.
    Get { recursive: bool, sorted: bool, quorum: bool },
    /// GET with `wait`. `wait_index` 0 means from now on.
    Watch { recursive: bool, stream: bool, wait_index: u64 },
    /// PUT without conditions.
    Set { value: Cow<'a, [u8]>, dir: bool, ttl: Option<u64>, refresh: bool },
    /// PUT with `prevExist=false`, or POST: then `in_order` is true, and a name is made below the key.
    Create { value: Cow<'a, [u8]>, dir: bool, ttl: Option<u64>, in_order: bool },
    /// PUT with `prevExist=true` and no other condition.
    Update { value: Cow<'a, [u8]>, ttl: Option<u64>, refresh: bool },
    /// PUT with a condition; at least one of the two is there.
    CompareAndSwap {
        value: Cow<'a, [u8]>,
        ttl: Option<u64>,
        refresh: bool,
        prev_value: Option<Cow<'a, [u8]>>,
        prev_index: u64,
    },
    /// DELETE without conditions. `recursive` implies `dir`.
    Delete { dir: bool, recursive: bool },
    /// DELETE with a condition; at least one of the two is there.
    CompareAndDelete { prev_value: Option<Cow<'a, [u8]>>, prev_index: u64 },
}

impl KeysRequest<'_> {
    /// Bytes of the values in it.
    pub fn value_bytes(&self) -> usize {
        match self {
            Self::Get { .. } | Self::Watch { .. } | Self::Delete { .. } => 0,
            Self::Set { value, .. } | Self::Create { value, .. } | Self::Update { value, .. } => value.len(),
            Self::CompareAndSwap { value, prev_value, .. } => {
                value.len() + prev_value.as_ref().map_or(0, |prev| prev.len())
            }
            Self::CompareAndDelete { prev_value, .. } => prev_value.as_ref().map_or(0, |prev| prev.len()),
        }
    }
}

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// What is asked for.
    pub request: KeysRequest<'a>,
    /// The parameter `recursive`, which changes the permission check of every method.
    pub recursive: bool,
    /// etcd 3.4: a successful set, create, update or compare-and-swap is answered with its action only.
    pub no_value_on_success: bool,
}

/// Why the parameters were refused. All are status 400 and index 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// 201, 202, 203, 209, 210, 211 or 212.
    pub code: u16,
    /// The text of `cause`, not escaped for JSON.
    pub cause: Cow<'static, str>,
}

impl FieldError {
    fn new(code: u16, cause: &'static str) -> Self {
        Self { code, cause: Cow::Borrowed(cause) }
    }
}

impl From<FormError> for FieldError {
    fn from(error: FormError) -> Self {
        Self { code: 210, cause: error.cause() }
    }
}

/// Reads the parameters of `request`, whose path is in the key space and whose method is one of GET, HEAD, PUT, POST
/// and DELETE.
///
/// A request whose body is no form succeeds even if the body was too large; the connection must still be closed after
/// it.
pub fn decode<'a>(request: &Request<'a>) -> Result<Decoded<'a>, FieldError> {
    if request.query.is_none() && matches!(request.method, Method::Get | Method::Head) {
        // Most reads, and there is nothing to be read of them.
        let request = KeysRequest::Get { recursive: false, sorted: false, quorum: false };
        return Ok(Decoded { request, recursive: false, no_value_on_success: false });
    }
    let fields = Fields::read(request)?;
    let checked = Checked::new(request.method, fields)?;
    let (recursive, no_value_on_success) = (checked.read.recursive, checked.no_value);
    Ok(Decoded { request: checked.into_request(request.method), recursive, no_value_on_success })
}

/// Whether [`decode`] looks at the body of `request`: that of a form, where there may be one.
pub fn reads_body(request: &Request<'_>) -> bool {
    matches!(request.method, Method::Put | Method::Post) && media_type_of(request).is_form
}

fn media_type_of(request: &Request<'_>) -> MediaType {
    let given = request.content_type.filter(|value| !value.is_empty());
    media_type::parse(given.unwrap_or(DEFAULT_TYPE))
}

/// The first value of each parameter: those of the body come before those of the query.
#[derive(Default)]
struct Fields<'a> {
    value: Option<Cow<'a, [u8]>>,
    ttl: Option<Cow<'a, [u8]>>,
    dir: Option<Cow<'a, [u8]>>,
    prev_exist: Option<Cow<'a, [u8]>>,
    prev_value: Option<Cow<'a, [u8]>>,
    prev_index: Option<Cow<'a, [u8]>>,
    recursive: Option<Cow<'a, [u8]>>,
    sorted: Option<Cow<'a, [u8]>>,
    wait: Option<Cow<'a, [u8]>>,
    wait_index: Option<Cow<'a, [u8]>>,
    stream: Option<Cow<'a, [u8]>>,
    quorum: Option<Cow<'a, [u8]>>,
    refresh: Option<Cow<'a, [u8]>>,
    no_value_on_success: Option<Cow<'a, [u8]>>,
}

impl<'a> Fields<'a> {
    /// The first error wins, and the body's come before the query's; a bad content type wins over all but a body too
    /// large.
    fn read(request: &Request<'a>) -> Result<Self, FormError> {
        let mut fields = Self::default();
        if matches!(request.method, Method::Put | Method::Post) {
            let media_type = media_type_of(request);
            if media_type.is_form && request.body == Body::TooLarge {
                return Err(FormError::TooLarge);
            }
            if let Some(complaint) = media_type.error {
                return Err(FormError::MediaType(complaint));
            }
            if media_type.is_form
                && let Body::Bytes(body) = request.body
            {
                fields.take_all(body)?;
            }
        }
        fields.take_all(request.query.unwrap_or(&[]))?;
        Ok(fields)
    }

    fn take_all(&mut self, text: &'a [u8]) -> Result<(), FormError> {
        for pair in form::pairs(text)? {
            let (name, value) = pair?;
            if let Some(field) = self.named(&name) {
                field.get_or_insert(value);
            }
        }
        Ok(())
    }

    fn named(&mut self, name: &[u8]) -> Option<&mut Option<Cow<'a, [u8]>>> {
        Some(match name {
            b"value" => &mut self.value,
            b"ttl" => &mut self.ttl,
            b"dir" => &mut self.dir,
            b"prevExist" => &mut self.prev_exist,
            b"prevValue" => &mut self.prev_value,
            b"prevIndex" => &mut self.prev_index,
            b"recursive" => &mut self.recursive,
            b"sorted" => &mut self.sorted,
            b"wait" => &mut self.wait,
            b"waitIndex" => &mut self.wait_index,
            b"stream" => &mut self.stream,
            b"quorum" => &mut self.quorum,
            b"refresh" => &mut self.refresh,
            b"noValueOnSuccess" => &mut self.no_value_on_success,
            _ => return None,
        })
    }
}

/// Parameters that passed the checks.
struct Checked<'a> {
    read: Read,
    value: Cow<'a, [u8]>,
    ttl: Option<u64>,
    dir: bool,
    prev_exist: Option<bool>,
    prev_value: Option<Cow<'a, [u8]>>,
    prev_index: u64,
    refresh: bool,
    no_value: bool,
}

/// The parameters of reads and watches.
#[allow(clippy::struct_excessive_bools, reason = "five parameters of the API")]
struct Read {
    recursive: bool,
    sorted: bool,
    quorum: bool,
    wait: bool,
    wait_index: u64,
    stream: bool,
}

impl<'a> Checked<'a> {
    /// The statements stand in the order of etcd's checks.
    fn new(method: Method<'_>, fields: Fields<'a>) -> Result<Self, FieldError> {
        let prev_index = index(fields.prev_index.as_deref(), "invalid value for \"prevIndex\"")?;
        let wait_index = index(fields.wait_index.as_deref(), "invalid value for \"waitIndex\"")?;
        let recursive = flag(fields.recursive.as_deref(), "invalid value for \"recursive\"")?;
        let sorted = flag(fields.sorted.as_deref(), "invalid value for \"sorted\"")?;
        let wait = flag(fields.wait.as_deref(), "invalid value for \"wait\"")?;
        let dir = flag(fields.dir.as_deref(), "invalid value for \"dir\"")?;
        let quorum = flag(fields.quorum.as_deref(), "invalid value for \"quorum\"")?;
        let stream = flag(fields.stream.as_deref(), "invalid value for \"stream\"")?;
        if wait && method != Method::Get {
            return Err(FieldError::new(209, "\"wait\" can only be used with GET requests"));
        }
        let prev_value = fields.prev_value;
        if prev_value.as_deref().is_some_and(<[u8]>::is_empty) {
            return Err(FieldError::new(201, "\"prevValue\" cannot be empty"));
        }
        let no_value = flag(fields.no_value_on_success.as_deref(), "invalid value for \"noValueOnSuccess\"")?;
        let ttl = ttl(fields.ttl.as_deref())?;
        let prev_exist = tri_state(fields.prev_exist.as_deref(), "invalid value for prevExist")?;
        let refresh = flag(fields.refresh.as_deref(), "invalid value for refresh")?;
        let value = fields.value.unwrap_or_default();
        if refresh && !value.is_empty() {
            return Err(FieldError::new(211, "A value was provided on a refresh"));
        }
        if refresh && ttl.is_none() {
            return Err(FieldError::new(212, "No TTL value set"));
        }
        let read = Read { recursive, sorted, quorum, wait, wait_index, stream };
        Ok(Self { read, value, ttl, dir, prev_exist, prev_value, prev_index, refresh, no_value })
    }

    fn into_request(self, method: Method<'_>) -> KeysRequest<'a> {
        match method {
            Method::Put => self.into_put(),
            Method::Post => KeysRequest::Create { value: self.value, dir: self.dir, ttl: self.ttl, in_order: true },
            Method::Delete => self.into_delete(),
            _ => self.read.into_request(method),
        }
    }

    fn into_put(self) -> KeysRequest<'a> {
        let Self { value, ttl, dir, refresh, prev_value, prev_index, .. } = self;
        let is_conditional = prev_index > 0 || prev_value.is_some();
        match self.prev_exist {
            Some(false) => KeysRequest::Create { value, dir, ttl, in_order: false },
            Some(true) if !is_conditional => KeysRequest::Update { value, ttl, refresh },
            None if !is_conditional => KeysRequest::Set { value, dir, ttl, refresh },
            _ => KeysRequest::CompareAndSwap { value, ttl, refresh, prev_value, prev_index },
        }
    }

    fn into_delete(self) -> KeysRequest<'a> {
        if self.prev_index > 0 || self.prev_value.is_some() {
            return KeysRequest::CompareAndDelete { prev_value: self.prev_value, prev_index: self.prev_index };
        }
        KeysRequest::Delete { dir: self.dir, recursive: self.read.recursive }
    }
}

impl Read {
    fn into_request<'a>(self, method: Method<'_>) -> KeysRequest<'a> {
        let Self { recursive, sorted, quorum, wait, wait_index, stream } = self;
        if wait && !quorum {
            return KeysRequest::Watch { recursive, stream, wait_index };
        }
        KeysRequest::Get { recursive, sorted, quorum: quorum && method != Method::Head }
    }
}

/// Absent is 0.
fn index(text: Option<&[u8]>, complaint: &'static str) -> Result<u64, FieldError> {
    text.map_or(Some(0), decimal::parse_u64).ok_or(FieldError::new(203, complaint))
}

/// Absent and empty are no TTL.
fn ttl(text: Option<&[u8]>) -> Result<Option<u64>, FieldError> {
    let Some(digits) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    decimal::parse_u64(digits).map(Some).ok_or(FieldError::new(202, "invalid value for \"ttl\""))
}

/// Absent is false.
fn flag(text: Option<&[u8]>, complaint: &'static str) -> Result<bool, FieldError> {
    tri_state(text, complaint).map(Option::unwrap_or_default)
}

/// The spellings of Go's `strconv.ParseBool`.
fn tri_state(text: Option<&[u8]>, complaint: &'static str) -> Result<Option<bool>, FieldError> {
    match text {
        None => Ok(None),
        Some(b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True") => Ok(Some(true)),
        Some(b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False") => Ok(Some(false)),
        Some(_) => Err(FieldError::new(209, complaint)),
    }
}
