//! The report on a terminal.

use std::fmt::Write as _;

use crate::results::Report;
use crate::sections::{self, Section};

pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    for section in sections::all(report) {
        push_table(&mut out, &section);
    }
    for reason in &report.left_out {
        let _ = writeln!(out, "Left out: {reason}");
    }
    if let Some(warning) = sections::disturbed(report) {
        let _ = writeln!(out, "{warning}");
    }
    out
}

fn push_table(out: &mut String, section: &Section) {
    let header = section.header.iter().map(ToString::to_string).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&section.rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..section.header.len()).map(width).collect();
    let _ = writeln!(out, "{}", section.title);
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = String::new();
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["a", "1"]), row(["long µ", ""])];
        push_table(&mut out, &Section { title: "T", note: "", header: vec!["x", "yy"], rows });
        assert_eq!(out, "T\n  x       yy\n  a       1\n  long µ\n\n");
    }
}
