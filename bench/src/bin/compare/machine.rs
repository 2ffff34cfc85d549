//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::setup::Setup;

/// Facts about machine and programs, in the order in which they are shown.
pub(crate) fn facts(setup: &Setup) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add =
        |name: &str, value: Option<String>| all.push((name.to_owned(), value.unwrap_or("unknown".to_owned())));
    let usable = setup.cpus.len();
    add("CPU", field("/proc/cpuinfo", "model name").map(|model| format!("{usable} x {model}")));
    add("memory", field("/proc/meminfo", "MemTotal").as_deref().and_then(gib));
    let uname = rustix::system::uname();
    add("kernel", Some(format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())));
    add("data on", file_system(setup.dir()));
    add("uetcd", version(&setup.uetcd, "--version"));
    if let Some((who, program)) = &setup.other {
        add(who.name(), version(program, "--version"));
    }
    if let Some((server, _)) = &setup.redis {
        add("Redis", version(server, "--version"));
    }
    all
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gib(total: &str) -> Option<String> {
    let kib: f64 = total.strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

/// Device and type of what holds `dir`.
fn file_system(dir: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mount_of(&mounts, dir)
}

fn mount_of(mounts: &str, dir: &Path) -> Option<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|fields| fields.len() >= 3);
    // Of two mounts on one folder, the later one is seen.
    let holder = fields.filter(|fields| dir.starts_with(fields[1])).max_by_key(|fields| fields[1].len())?;
    Some(format!("{}, {}", holder[2], holder[0]))
}

/// The first line that a program says of itself.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    version_in(&text)
}

/// uetcd says on its first line, as a client may want to hear, which etcd it is like.
fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("uetcd-")).or_else(|| text.lines().next())?;
    Some(line.rsplit_once(": ").map_or(line, |(_, version)| version).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_holds_a_folder() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(mount_of(mounts, Path::new("/tmp/x")).as_deref(), Some("ext4, /dev/vdb"));
        assert_eq!(mount_of(mounts, Path::new("/tmpfs")).as_deref(), Some("ext4, /dev/vda"));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn a_program_is_called_what_it_is() {
        let version = |text| version_in(text).expect("a version");
        assert_eq!(
            version("etcd Version: 2.3.8\nGit SHA: uetcd-0.1.0\nGo Version: none (uetcd, rust)\n"),
            "uetcd-0.1.0"
        );
        assert_eq!(version("etcd Version: 3.4.23\nGit SHA: x\n"), "3.4.23");
        assert_eq!(version("Redis server v=7.0.15 sha=0:0\n"), "Redis server v=7.0.15 sha=0:0");
    }

    #[test]
    fn memory_is_shown_in_gib() {
        assert_eq!(gib("25165824 kB").as_deref(), Some("24.0 GiB"));
    }
}
