//! What is shown: one level for all packages, others for some; all of them can change while the server runs.

use std::sync::atomic::{AtomicU8, Ordering};

use super::Severity;

/// The levels.
pub(super) struct Filter {
    level: Threshold,
    packages: Vec<(String, Threshold)>,
}

impl Filter {
    /// `packages`: the levels of single ones; `*` is every package, as in capnslog, and the last of several counts.
    pub(super) fn new(level: Severity, packages: &[(String, Severity)]) -> Self {
        let every = packages.iter().rev().find(|(name, _)| name == "*").map_or(level, |(_, level)| *level);
        let named = packages.iter().rev().filter(|(name, _)| name != "*");
        let packages = named.map(|(name, level)| (name.clone(), Threshold::new(*level))).collect();
        Self { level: Threshold::new(every), packages }
    }

    /// Whether a line is shown.
    pub(super) fn shows(&self, package: &str, severity: Severity) -> bool {
        let own = self.packages.iter().find(|(name, _)| name == package);
        own.map_or(&self.level, |(_, level)| level).admits(severity)
    }

    /// One level for everything.
    pub(super) fn set_all(&self, level: Severity) {
        self.level.set(level);
        for (_, package) in &self.packages {
            package.set(level);
        }
    }

    /// The level of the package that shows most.
    pub(super) fn most_detailed(&self) -> Severity {
        let admits = |severity: &Severity| {
            self.level.admits(*severity) || self.packages.iter().any(|(_, level)| level.admits(*severity))
        };
        Severity::ALL.into_iter().rev().find(admits).unwrap_or(Severity::Critical)
    }
}

/// A severity that can be replaced at any time. Relaxed: nothing else is published with it.
struct Threshold(AtomicU8);

impl Threshold {
    fn new(level: Severity) -> Self {
        Self(AtomicU8::new(level as u8))
    }

    fn admits(&self, severity: Severity) -> bool {
        severity as u8 <= self.0.load(Ordering::Relaxed)
    }

    fn set(&self, level: Severity) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_own_level_until_all_are_set() {
        let packages = [("etcdserver".to_owned(), Severity::Warning), ("etcdhttp".to_owned(), Severity::Debug)];
        let filter = Filter::new(Severity::Info, &packages);
        assert_eq!(filter.most_detailed(), Severity::Debug);
        for (package, severity, want) in [
            ("etcdserver", Severity::Warning, true),
            ("etcdserver", Severity::Notice, false),
            ("etcdhttp", Severity::Debug, true),
            ("etcdhttp", Severity::Trace, false),
            ("raft", Severity::Info, true),
            ("raft", Severity::Debug, false),
        ] {
            assert_eq!(filter.shows(package, severity), want, "{package} {severity:?}");
        }
        filter.set_all(Severity::Error);
        assert_eq!(filter.most_detailed(), Severity::Error);
        assert!(!filter.shows("etcdhttp", Severity::Warning));
        assert!(filter.shows("etcdserver", Severity::Error));
    }

    #[test]
    fn a_star_is_every_package() {
        let packages = [("*".to_owned(), Severity::Error), ("raft".to_owned(), Severity::Info)];
        let filter = Filter::new(Severity::Info, &packages);
        assert!(!filter.shows("etcdserver", Severity::Warning));
        assert!(filter.shows("raft", Severity::Info));
    }
}
