//! Reports can be read by what reads them; a run can be ended early.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::harness::{Fake, PATIENCE, Reply, document, eventually, finish, loadgen, number, report, start};

/// Tags of a page that are opened and closed in pairs; fails where they are not.
fn check_nesting(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().expect("split gives one").trim();
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap_or("");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {page}");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}

/// Rows of a distribution: value in milliseconds, quantile, count.
fn rows(hgrm: &str) -> Vec<(f64, f64, u64)> {
    let lines = hgrm.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).skip(1);
    let row = |line: &str| {
        let cells: Vec<_> = line.split_whitespace().collect();
        let number = |n: usize| cells[n].parse::<f64>().expect("a number");
        (number(0), number(1), cells[2].parse().expect("a count"))
    };
    lines.map(row).collect()
}

#[test]
fn a_run_writes_what_it_is_asked_for() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    let (hgrm, html) = (file("run.hgrm"), file("run.html"));
    let address = Fake::serve(|_| Reply::Right);
    let arguments =
        ["-w", "mixed", "-c", "2", "--rate", "300", "-d", "500ms", "--keys", "5", "--hgrm", &hgrm, "--html", &html];
    let document = report(&[address], &arguments);
    let rows = rows(&fs::read_to_string(hgrm).expect("written"));
    let last = rows.last().expect("rows");
    assert_eq!((last.1, last.2), (1.0, number(&document, "/requests") + number(&document, "/unsent")));
    assert!((last.0 * 1e3 - number(&document, "/latency_us_max") as f64).abs() < 1.0, "{last:?} {document}");
    assert!(rows.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1 && a.2 <= b.2));
    let page = fs::read_to_string(html).expect("written");
    check_nesting(&page);
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(document["over_time"].as_array().is_some_and(|rows| rows.len() >= 3), "{document}");
}

#[test]
fn a_sweep_finds_the_knee_of_a_slow_server() {
    // One request in two milliseconds at most: the fake's answers wait for each other.
    let address = Fake::serve(|_| Reply::Stall(Duration::from_millis(2)));
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let html = home.path().join("sweep.html").to_str().expect("UTF-8").to_owned();
    let arguments =
        ["-w", "put", "-c", "4", "--sweep", "50-3200", "--steps", "7", "-d", "500ms", "--limit-p99", "100ms"];
    let mut command = loadgen(&[address], &arguments);
    command.args(["--html", &html, "--json"]);
    let document = document(&finish(start(command)), &arguments);
    let knee = document["knee_requests_per_second"].as_f64().expect("found");
    assert!((50.0..=500.0).contains(&knee), "{document}");
    let runs = document["runs"].as_array().expect("a list");
    let rates: Vec<_> = runs.iter().map(|run| run["offered_per_second"].as_f64().expect("a rate")).collect();
    assert!(rates.is_sorted() && rates.last() > Some(&knee) && rates.contains(&knee), "{rates:?}");
    let page = fs::read_to_string(html).expect("written");
    check_nesting(&page);
    assert!(page.matches("<svg").count() == 5 && page.contains("Throughput over offered load"));
}

#[test]
fn an_interrupt_ends_the_run_with_the_report_so_far() {
    let address = Fake::serve(|_| Reply::Right);
    for pace in [&["--rate", "200"][..], &[]] {
        let mut command = loadgen(&[address], &["-w", "put", "-c", "2", "-d", "60s", "--json"]);
        command.args(pace).args(["--progress", "always"]);
        let mut child = start(command);
        // The first line of progress says that there is something to report.
        let mut progress = child.stderr.take().expect("piped");
        let mut first = [0; 16];
        std::io::Read::read_exact(&mut progress, &mut first).expect("a line comes");
        thread::spawn(move || std::io::copy(&mut progress, &mut std::io::sink()));
        let pid = i32::try_from(child.id()).expect("a pid fits an i32");
        // SAFETY: kill(2) touches no memory; the pid is that of our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        let status = eventually("the run ends", PATIENCE, || child.try_wait().expect("own child"));
        assert!(status.success(), "{status:?}");
        let output = child.wait_with_output().expect("own child");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(document["interrupted"], true, "{document}");
        assert!(number(&document, "/requests") > 50, "{document}");
        assert!(document["seconds"].as_f64().is_some_and(|seconds| seconds < 20.0), "{document}");
    }
}

#[test]
fn the_table_is_for_people() {
    let address = Fake::serve(|_| Reply::Right);
    let output = finish(start(loadgen(&[address], &["-w", "put", "-c", "1", "-d", "200ms"])));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("put: 1 connections"), "{text}");
    assert!(
        text.contains(" per second") && text.contains("p99.9") && text.lines().any(|line| line.starts_with("all "))
    );
}
