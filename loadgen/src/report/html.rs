//! The report as one HTML file that loads nothing.

use super::svg::escape;
use super::{Report, plots, table};

const STYLE: &str = "
:root { color-scheme: light dark; --text: #222; --back: #fff; --grid: #ddd; --guide: #999;
  --c0: #1666b8; --c1: #c4561a; --c2: #a3216b; --c3: #2c7a3f; --c4: #6a51a3; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --back: #161616; --grid: #383838; --guide: #888;
  --c0: #62a8ea; --c1: #ee8a51; --c2: #e071ad; --c3: #72c486; --c4: #b39ddb; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; font-size: 13px; } svg { width: 100%; height: auto; margin: 0.5rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); } svg text.title { font-weight: 600; font-size: 14px; }
.grid { stroke: var(--grid); } polyline { fill: none; stroke-width: 1.8; }
line.mark { stroke: var(--guide); stroke-dasharray: 4 3; } polyline.guide { stroke: var(--guide); stroke-dasharray: 4 3; }
svg text.legend { font-weight: 600; } svg text.guide { fill: var(--guide); }
";

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let colours = ["c0", "c1", "c2", "c3", "c4"].map(|class| {
        format!(
            "polyline.{class} {{ stroke: var(--{class}); }} circle.{class}, svg text.{class} {{ fill: var(--{class}); }}\n"
        )
    });
    let style = STYLE.to_owned() + &colours.concat();
    let drawn: String = plots::plots(report).iter().map(super::svg::Plot::draw).collect();
    let numbers = table::text(report);
    let numbers = numbers.split_once('\n').map_or(numbers.as_str(), |(_, rest)| rest);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>uetcd-loadgen</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<style>{style}</style>\n</head>\n<body>\n\
         <h1>uetcd-loadgen</h1>\n<p>{}</p>\n<pre>{}</pre>\n{drawn}</body>\n</html>\n",
        escape(&report.what),
        escape(numbers)
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        for is_sweep in [false, true] {
            let page = page(&report(is_sweep));
            for loads in ["http://www", "https:", "src=", "<script", "<link", "@import", "url("] {
                assert!(!page.contains(loads), "{loads}");
            }
            assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
            assert_eq!(page.matches("<svg").count(), if is_sweep { 5 } else { 3 });
            assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        }
    }
}
