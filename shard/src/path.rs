//! Key paths: bytes with a leading `/`, no empty component, no trailing `/`; the root is `/`.
//!
//! Paths are bytes, never text: etcd keeps invalid UTF-8 as it came. All functions are total; on a path that is not
//! clean they treat a run of slashes as one.

/// The path of the root.
pub const ROOT: &[u8] = b"/";

/// Whether `path` has the one accepted form.
pub fn is_clean(path: &[u8]) -> bool {
    // Without a branch for each byte: every write asks.
    let doubled =
        |path: &[u8]| path.iter().zip(&path[1..]).fold(0, |found, (a, b)| found | u8::from(*a == b'/' && *b == b'/'));
    path == ROOT || (path.first() == Some(&b'/') && path.last() != Some(&b'/') && doubled(path) == 0)
}

/// The names from the root down to the node; nothing for the root itself.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// The names from the root down, each with the length of the path up to and including it.
pub fn steps(path: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut end = 0;
    path.split(|byte| *byte == b'/').filter_map(move |name| {
        let at = end + name.len();
        end = at + 1;
        (!name.is_empty()).then_some((name, at))
    })
}

/// The first name; empty for the root.
pub fn first_segment(path: &[u8]) -> &[u8] {
    components(path).next().unwrap_or_default()
}

/// The first name and what follows it; none for the root.
pub fn split_first(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let begin = path.iter().position(|byte| *byte != b'/')?;
    let rest = &path[begin..];
    Some(rest.split_at(rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len())))
}

/// The directory a path is in, and its name there; none for the root.
pub fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path == ROOT {
        return None;
    }
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((if slash == 0 { ROOT } else { &path[..slash] }, &path[slash + 1..]))
}

/// `name` below the directory `dir`.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push(&mut path, name);
    path
}

/// Extends `dir` to the path of its child `name`.
pub fn push(dir: &mut Vec<u8>, name: &[u8]) {
    if dir.as_slice() != ROOT {
        dir.push(b'/');
    }
    dir.extend_from_slice(name);
}

/// Whether `path` is strictly below the directory `dir`.
pub fn is_below(path: &[u8], dir: &[u8]) -> bool {
    below(path, dir).is_some_and(|rest| !rest.is_empty())
}

/// What of `path` follows `dir`, without the separator: empty if they are the same, none if `path` is elsewhere.
pub fn below<'a>(path: &'a [u8], dir: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(dir)?;
    match rest {
        [] => Some(rest),
        _ if dir == ROOT => Some(rest),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The longest part of `path`, ending with a component of it, whose bytes `other` begins with.
pub fn common_part<'a>(path: &'a [u8], other: &[u8]) -> &'a [u8] {
    let same = path.iter().zip(other).take_while(|(a, b)| a == b).count();
    let ends = |n: &usize| matches!(path.get(*n), None | Some(b'/'));
    (1..=same).rev().find(ends).map_or(ROOT, |n| &path[..n])
}

/// Whether a name is left out of its directory's listing.
pub fn is_hidden_name(name: &[u8]) -> bool {
    name.first() == Some(&b'_')
}

/// Whether a change at `path` is withheld from a recursive watch on `watched`, at or above it.
pub fn is_hidden_from(path: &[u8], watched: &[u8]) -> bool {
    below(path, watched).is_some_and(|rest| components(rest).any(is_hidden_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_form_is_clean() {
        for clean in ["/", "/a", "/a/b", "/_x", "/ ", "/..."] {
            assert!(is_clean(clean.as_bytes()), "{clean}");
        }
        for unclean in ["", "a", "/a/", "//", "/a//b"] {
            assert!(!is_clean(unclean.as_bytes()), "{unclean}");
        }
    }

    #[test]
    fn splits_and_joins() {
        assert_eq!(split_last(b"/"), None);
        assert_eq!(split_last(b"/a"), Some((b"/".as_slice(), b"a".as_slice())));
        assert_eq!(split_last(b"/a/b"), Some((b"/a".as_slice(), b"b".as_slice())));
        assert_eq!(split_first(b"/"), None);
        assert_eq!(split_first(b"/ab"), Some((b"ab".as_slice(), b"".as_slice())));
        assert_eq!(split_first(b"/a//bc/d"), Some((b"a".as_slice(), b"//bc/d".as_slice())));
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(first_segment(b"/a/b"), b"a");
        assert_eq!(components(b"/").count(), 0);
        assert_eq!(steps(b"/a/bc").collect::<Vec<_>>(), [(b"a".as_slice(), 2), (b"bc".as_slice(), 5)]);
    }

    #[test]
    fn below_ends_at_a_component() {
        assert_eq!(below(b"/a/b", b"/a"), Some(b"b".as_slice()));
        assert_eq!(below(b"/a", b"/a"), Some(b"".as_slice()));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(below(b"/a", b"/"), Some(b"a".as_slice()));
        assert!(is_below(b"/a", b"/") && !is_below(b"/", b"/") && !is_below(b"/ab", b"/a"));
    }

    #[test]
    fn the_common_part_ends_with_a_component() {
        for (path, other, want) in [
            ("/a/b", "/a/c", "/a"),
            ("/a/bc", "/a/b", "/a"),
            ("/a/b/c", "/a/b!", "/a/b"),
            ("/a", "/b", "/"),
            ("/a", "/a", "/a"),
        ] {
            assert_eq!(common_part(path.as_bytes(), other.as_bytes()), want.as_bytes(), "{path} and {other}");
        }
    }

    #[test]
    fn hidden_is_judged_below_the_watched_path() {
        for (path, watched, want) in [
            ("/_h/x", "/", true),
            ("/_h/x", "/_h", false),
            ("/_h/x", "/_h/x", false),
            ("/a/_b/c", "/a", true),
            ("/a/b_c", "/a", false),
            ("/a/_b", "/a/_b", false),
        ] {
            assert_eq!(is_hidden_from(path.as_bytes(), watched.as_bytes()), want, "{path} from {watched}");
        }
    }
}
