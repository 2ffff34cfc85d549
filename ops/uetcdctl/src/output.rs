//! What is shown of an answer, in the format of `--output`.

use std::fmt::Write as _;

use crate::client::{Node, Response};
use crate::screen;
use crate::text::json_string;

/// Shows a key, or what happened to it.
pub(crate) fn key(response: &Response, format: &str) {
    match format {
        "simple" => screen::say_text(&simple(response)),
        "extended" => screen::say_text(&extended(response)),
        "json" => screen::say(json(response)),
        "table" => screen::say_text(&table(&[&response.node])),
        other => screen::complain(&format!("Unsupported output format: {other}\n")),
    }
}

fn previous_value(response: &Response) -> &str {
    response.prev_node.as_ref().map_or("", |node| node.value.as_str())
}

fn simple(response: &Response) -> String {
    if response.action == "delete" {
        format!("PrevNode.Value: {}\n", previous_value(response))
    } else {
        format!("{}\n", response.node.value)
    }
}

fn extended(response: &Response) -> String {
    let Node { key, created_index, modified_index, ttl, value, .. } = &response.node;
    let mut text = format!("Key: {key}\nCreated-Index: {created_index}\nModified-Index: {modified_index}\n");
    if response.prev_node.is_some() {
        let _ = writeln!(text, "PrevNode.Value: {}", previous_value(response));
    }
    let _ = writeln!(text, "TTL: {ttl}\nIndex: {}", response.index);
    if response.action != "delete" {
        let _ = writeln!(text, "\n{value}");
    }
    text
}

fn json(response: &Response) -> String {
    let previous = response.prev_node.as_ref().map_or_else(|| "null".to_owned(), json_node);
    let node = json_node(&response.node);
    format!("{{\"action\":{},\"node\":{node},\"prevNode\":{previous}}}", json_string(&response.action))
}

fn json_node(node: &Node) -> String {
    let mut text = format!("{{\"key\":{}", json_string(&node.key));
    if node.dir {
        text.push_str(",\"dir\":true");
    }
    let nodes: Vec<_> = node.nodes.iter().map(json_node).collect();
    let nodes = if nodes.is_empty() { "null".to_owned() } else { format!("[{}]", nodes.join(",")) };
    let _ = write!(
        text,
        ",\"value\":{},\"nodes\":{nodes},\"createdIndex\":{},\"modifiedIndex\":{}",
        json_string(&node.value),
        node.created_index,
        node.modified_index
    );
    if let Some(expiration) = &node.expiration {
        let _ = write!(text, ",\"expiration\":{}", json_string(expiration));
    }
    if node.ttl != 0 {
        let _ = write!(text, ",\"ttl\":{}", node.ttl);
    }
    text.push('}');
    text
}

/// Longest value that a table shows whole, in characters.
const SHOWN_MAX: usize = 60;

/// One line for each node, its columns aligned.
pub(crate) fn table(nodes: &[&Node]) -> String {
    let mut rows = vec![["KEY", "VALUE", "TTL", "CREATED", "MODIFIED"].map(str::to_owned)];
    rows.extend(nodes.iter().map(|node| row(node)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut text = String::new();
    for row in &rows {
        let [key, value, numbers @ ..] = row;
        let [ttl, created, modified] = numbers;
        let line = format!(
            "{key:0$}  {value:1$}  {ttl:>2$}  {created:>3$}  {modified:>4$}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(node: &Node) -> [String; 5] {
    let mut key = if node.key.is_empty() { "/".to_owned() } else { node.key.clone() };
    if node.dir && !key.ends_with('/') {
        key.push('/');
    }
    let escaped: String =
        node.value.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    let mut value: String = escaped.chars().take(SHOWN_MAX).collect();
    if value.len() < escaped.len() {
        value.push('…');
    }
    let ttl = if node.ttl == 0 { String::new() } else { node.ttl.to_string() };
    [key, value, ttl, node.created_index.to_string(), node.modified_index.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_keeps_to_its_lines() {
        let a = Node {
            key: "/a".into(),
            value: "one\ntwo".into(),
            ttl: 5,
            created_index: 4,
            modified_index: 12,
            ..Node::default()
        };
        let b = Node { key: "/dir".into(), dir: true, created_index: 7, modified_index: 7, ..Node::default() };
        let want = "KEY    VALUE     TTL  CREATED  MODIFIED\n/a     one\\ntwo    5        4        12\n/dir/                       7         7\n";
        assert_eq!(table(&[&a, &b]), want);
    }
}
