//! Which shard a path belongs to. The only place that knows.
//!
//! A key's shard is a fixed hash of its **first path segment**, so everything at or below `/a` is in one shard, and a
//! directory's TTL, its listing, its recursive removal and a compare-and-swap inside it never cross shards. Only the
//! *spread directories* have children in many shards; `/` is the first of them.
//!
//! In-order creates (POST) on `/` pick their name from an index that is known only once the command has been
//! proposed, so their shard cannot depend on the name. They all go to [`IN_ORDER_SHARD`], and every first segment that
//! looks like such a name (exactly 20 ASCII digits) is routed there as well, whoever made it.
//!
//! **Never change what this file computes**: clusters have their data where it says.

use crate::hash::{fnv1a_64, mix};
use crate::ids::ShardId;
use crate::path;

/// Home of the in-order children of `/`.
pub const IN_ORDER_SHARD: ShardId = ShardId(0);

/// Digits of an in-order name: the decimal digits of the largest 64-bit index.
pub const IN_ORDER_DIGITS: usize = 20;

/// Directories whose children are spread over all shards.
const SPREAD: [&[u8]; 1] = [path::ROOT];

/// Where a path lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The path and all below it are in this shard.
    Shard(ShardId),
    /// The path is a directory with a part in every shard.
    Spread,
}

/// The shard of the node at `path` (a clean path), in a cluster of `shards` shards.
pub fn route(path: &[u8], shards: u16) -> Route {
    assert!(shards > 0, "a cluster has at least one shard");
    if SPREAD.contains(&path) {
        Route::Spread
    } else {
        Route::Shard(shard_of_segment(path::first_segment(path), shards))
    }
}

/// The shard that runs an in-order create below the directory `path`.
pub fn route_in_order(path: &[u8], shards: u16) -> ShardId {
    match route(path, shards) {
        Route::Shard(shard) => shard,
        Route::Spread => IN_ORDER_SHARD,
    }
}

/// The decimal of `index`, padded to 20 digits: names sort as their indices do.
pub fn in_order_name(index: u64) -> [u8; IN_ORDER_DIGITS] {
    let mut name = [b'0'; IN_ORDER_DIGITS];
    let mut rest = index;
    for digit in name.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

fn shard_of_segment(segment: &[u8], shards: u16) -> ShardId {
    if segment.len() == IN_ORDER_DIGITS && segment.iter().all(u8::is_ascii_digit) {
        return IN_ORDER_SHARD;
    }
    // Mixed, because FNV alone leaves names that differ in the last byte in neighbouring shards.
    ShardId((mix(fnv1a_64(segment)) % u64::from(shards)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where data already lies. A change here orphans the keys of every cluster.
    #[test]
    fn the_map_of_the_world_is_fixed() {
        let shard = |path: &str| match route(path.as_bytes(), 16) {
            Route::Shard(shard) => shard.0,
            Route::Spread => panic!("{path} is spread"),
        };
        let paths = ["/a", "/b", "/registry/pods", "/registry", "/message", "/_hidden", "/00000000000000000070"];
        assert_eq!(paths.map(shard), [11, 0, 8, 8, 14, 0, 0]);
    }

    #[test]
    fn everything_below_a_segment_is_in_its_shard() {
        assert_eq!(route(b"/a", 16), route(b"/a/b/c", 16));
        assert_eq!(route(b"/", 16), Route::Spread);
    }

    #[test]
    fn in_order_children_of_the_root_are_found_again() {
        let made_in = route_in_order(b"/", 16);
        for index in [0, 1, 70, u64::MAX] {
            let path = [b"/".as_slice(), &in_order_name(index)].concat();
            assert_eq!(route(&path, 16), Route::Shard(made_in), "{index}");
        }
        assert_eq!(Route::Shard(route_in_order(b"/queue", 16)), route(b"/queue/00000000000000000070", 16));
    }

    #[test]
    fn in_order_names_are_padded_decimals() {
        assert_eq!(&in_order_name(70), b"00000000000000000070");
        assert_eq!(&in_order_name(u64::MAX), b"18446744073709551615");
    }

    #[test]
    fn shards_fill_evenly() {
        let mut counts = [0_u32; 16];
        for n in 0..16_000 {
            if let Route::Shard(shard) = route(format!("/key{n}").as_bytes(), 16) {
                counts[usize::from(shard.0)] += 1;
            }
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }
}
