//! Who a member and a cluster are: 64-bit ids, computed exactly as etcd 2.3 computes them, so that tools which know a
//! cluster's ids in advance (or compare them after a move) keep working.

use std::fmt;

use sha1::{Digest, Sha1};

/// One member of a cluster. Shown as lower-case hex without leading zeros everywhere but in the peer port's
/// `/members`, where it is a decimal number ([`MemberId::get`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u64);

/// One cluster, for as long as it lives: later changes of the membership do not touch it. Shown as [`MemberId`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterId(u64);

impl MemberId {
    /// The id of a member that is there when the cluster is born.
    ///
    /// `peer_urls` in any order, each as text exactly as configured (`localhost` and `127.0.0.1` give different ids);
    /// `token` is `--initial-cluster-token`, or the whole discovery URL. The member's name does not enter.
    ///
    /// Source: etcd 2.3: the first 8 bytes, big-endian, of SHA-1 over the sorted URLs and the token, no separators. A
    /// member added to a running cluster has the decimal Unix time of the request, in seconds, in place of the token.
    pub(crate) fn at_bootstrap<S: AsRef<str>>(peer_urls: &[S], token: &str) -> Self {
        let mut sorted: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        let mut sha = Sha1::new();
        for url in sorted {
            sha.update(url.as_bytes());
        }
        sha.update(token.as_bytes());
        Self(leading_u64(sha))
    }

    /// The id of a member that is added to a running cluster at `second` of the Unix epoch.
    pub(crate) fn added<S: AsRef<str>>(peer_urls: &[S], second: u64) -> Self {
        Self::at_bootstrap(peer_urls, &second.to_string())
    }

    /// The number itself, for the disk and for the peer port's decimal JSON.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl ClusterId {
    /// The id of the cluster whose first members are `members`, in any order.
    ///
    /// Source: etcd 2.3: the first 8 bytes, big-endian, of SHA-1 over the ids in numeric order, 8 big-endian bytes
    /// each.
    pub(crate) fn of(members: &[MemberId]) -> Self {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        let mut sha = Sha1::new();
        for member in sorted {
            sha.update(member.0.to_be_bytes());
        }
        Self(leading_u64(sha))
    }

    /// The number itself, for the disk.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// From the disk, or from the answer of another member.
impl From<u64> for MemberId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// From the disk, or from the answer of another member.
impl From<u64> for ClusterId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

fn leading_u64(sha: Sha1) -> u64 {
    sha.finalize().iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte))
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(urls: &[&[&str]], token: &str) -> Vec<MemberId> {
        urls.iter().map(|urls| MemberId::at_bootstrap(urls, token)).collect()
    }

    /// Every value was read from running etcd 2.3.8 and 3.4.23 servers.
    #[test]
    fn ids_are_those_that_etcd_computes() {
        type Row<'a> = (&'a str, &'a [&'a [&'a str]], &'a str, &'a [&'a str], &'a str);
        let rows: &[Row<'_>] = &[
            (
                "the default of 2.3",
                &[&["http://localhost:2380", "http://localhost:7001"]],
                "etcd-cluster",
                &["ce2a822cea30bfca"],
                "7e27652122e8b2ae",
            ),
            (
                "the order of the URLs does not matter",
                &[&["http://localhost:7001", "http://localhost:2380"]],
                "etcd-cluster",
                &["ce2a822cea30bfca"],
                "7e27652122e8b2ae",
            ),
            (
                "the default of 3.x",
                &[&["http://localhost:2380"]],
                "etcd-cluster",
                &["8e9e05c52164694d"],
                "cdf818194e3a8c32",
            ),
            (
                "three members",
                &[&["http://127.0.0.1:21011"], &["http://127.0.0.1:21012"], &["http://127.0.0.1:21013"]],
                "etcd-cluster-1",
                &["6135a02579906d5a", "d580e7c1f0ca209f", "42e0cd627a6651c2"],
                "dfa5d91d7e2064c7",
            ),
            (
                "five members found by discovery",
                &[
                    &["http://localhost:12380"],
                    &["http://localhost:22380"],
                    &["http://localhost:32380"],
                    &["http://localhost:42380"],
                    &["http://localhost:52380"],
                ],
                "http://localhost:2379/v2/keys/_etcd/registry/test",
                &["38538e10a590934a", "d9067d913c6c8ec1", "6104f38a34ee187e", "84074fa680e71ff8", "540a30cee9fea123"],
                "ae0d4a553ba2d8dd",
            ),
            (
                "three members found by DNS",
                &[
                    &["http://infra0.example.test:21411"],
                    &["http://infra1.example.test:21412"],
                    &["http://infra2.example.test:21413"],
                ],
                "tok",
                &["652fa98a329748d0", "ecd428ef578d9af2", "6a7982bdacacfdad"],
                "377273afa36a1991",
            ),
            (
                "one member on another port",
                &[&["http://127.0.0.1:20002"]],
                "etcd-cluster",
                &["58659dda25405e42"],
                "ab8e2a87ae33bed8",
            ),
            (
                "a one-letter token",
                &[&["http://127.0.0.1:20112"], &["http://127.0.0.1:20122"], &["http://127.0.0.1:20132"]],
                "c",
                &["208186600aca4d76", "424b9c3458655d4a", "a720b12b4a4f511b"],
                "4aeb611da8babf52",
            ),
        ];
        for (name, urls, token, want_members, want_cluster) in rows {
            let got = members(urls, token);
            assert_eq!(got.iter().map(MemberId::to_string).collect::<Vec<_>>(), *want_members, "{name}");
            assert_eq!(ClusterId::of(&got).to_string(), *want_cluster, "{name}");
            let backwards: Vec<MemberId> = got.into_iter().rev().collect();
            assert_eq!(ClusterId::of(&backwards).to_string(), *want_cluster, "{name}, listed backwards");
        }
    }

    #[test]
    fn a_member_added_later_has_the_second_for_a_token() {
        let urls = ["http://127.0.0.1:21518", "http://127.0.0.1:21519"];
        assert_eq!(MemberId::at_bootstrap(&urls, "1795358973").to_string(), "a751d4bed35b6878");
    }

    #[test]
    fn ids_are_shown_without_leading_zeros() {
        assert_eq!(MemberId(0x0020_03aa_1d41_8b9a).to_string(), "2003aa1d418b9a");
        assert_eq!(ClusterId(0x0020_03aa_1d41_8b9a).to_string(), "2003aa1d418b9a");
    }
}
