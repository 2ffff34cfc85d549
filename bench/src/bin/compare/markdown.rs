//! The report as a page of the documentation.

use std::fmt::Write as _;

use crate::results::Report;
use crate::sections::{self, Section};

/// Written by hand, and part of every page: figures alone teach nothing.
const LESSONS: &str = include_str!("../../../lessons.md");

pub(crate) fn render(report: &Report) -> String {
    let mut out = String::from("# Performance\n\n");
    let _ = writeln!(
        out,
        "Written by `bench/compare`, not by hand: run it on your machine, and compare within one run only. Measured on {} with {} rounds \
of {} s each.\n\n    {}\n",
        report.date, report.rounds, report.seconds, report.command
    );
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in &report.machine {
        let _ = writeln!(out, "| {} | {} |", cell(name), cell(value));
    }
    if let Some(warning) = sections::disturbed(report) {
        let _ = writeln!(out, "\n**{warning}**");
    }
    for section in sections::all(report) {
        push_section(&mut out, &section);
    }
    if !report.left_out.is_empty() {
        out.push_str("\n## Left out\n\n");
        for reason in &report.left_out {
            let _ = writeln!(out, "- {reason}");
        }
    }
    let _ = write!(out, "\n{LESSONS}");
    out
}

fn push_section(out: &mut String, section: &Section) {
    let _ = write!(out, "\n## {}\n\n{}\n\n", section.title, section.note);
    let _ = writeln!(out, "| {} |", section.header.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(section.header.len()));
    for row in &section.rows {
        let _ = writeln!(out, "| {} |", row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(" | "));
    }
}

/// A bar would begin another cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_measured_on_what() {
        let report = Report {
            date: "2026-01-02".to_owned(),
            command: "bench/compare --rounds 2".to_owned(),
            machine: vec![("CPU".to_owned(), "2 x A|B".to_owned())],
            left_out: vec!["Redis: missing".to_owned()],
            ..sections::tests::report()
        };
        let page = render(&report);
        for part in [
            "on 2026-01-02 with 2 rounds of 1 s",
            "\n    bench/compare --rounds 2\n",
            "| CPU | 2 x A\\|B |\n",
            "\n## Loads\n\n",
            "\n| load | goal | measured | verdict |\n|---|---|---|---|\n",
            "| get-64 | ≥ 2.7 x etcd | 4.00 | met |\n",
            "- Redis: missing\n",
            LESSONS,
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
    }
}
