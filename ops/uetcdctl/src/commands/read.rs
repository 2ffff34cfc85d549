//! `get` and `ls`.

use super::Call;
use crate::cli::Word;
use crate::client::{Keys, Node, Read};
use crate::failed::{Code, Failed};
use crate::{output, screen};

pub(super) fn get(call: &Call) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.key()?;
    let how = Read { recursive: false, sorted: call.flags.is_set("sort"), quorum: call.flags.is_set("quorum") };
    let response = Keys::new(&client).get(key, how, call.settings.deadline());
    let response = response.map_err(|error| Failed::error(Code::Server, error))?;
    if response.node.dir {
        return Err(Failed::said(format!("{}: is a directory", response.node.key)));
    }
    output::key(&response, call.settings.output());
    Ok(())
}

pub(super) fn list(call: &Call) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.words.first().map_or(&b"/"[..], Word::bytes);
    let how = Read {
        recursive: call.flags.is_set("recursive"),
        sorted: call.flags.is_set("sort"),
        quorum: call.flags.is_set("quorum"),
    };
    let response = Keys::new(&client).get(key, how, call.settings.deadline());
    let response = response.map_err(|error| Failed::error(Code::Server, error))?;
    if !["simple", "table"].contains(&call.settings.output()) {
        output::key(&response, call.settings.output());
        return Ok(());
    }
    let node = &response.node;
    let mut below = Vec::new();
    if !node.dir {
        below.push(node);
    }
    for child in &node.nodes {
        flatten(child, &mut below);
    }
    if call.settings.output() == "table" {
        screen::say_text(&output::table(&below));
        return Ok(());
    }
    let slash = |node: &Node| if node.dir && call.flags.is_set("p") { "/" } else { "" };
    let lines: Vec<_> = below.iter().map(|node| format!("{}{}\n", node.key, slash(node))).collect();
    screen::say_text(&lines.concat());
    Ok(())
}

fn flatten<'a>(node: &'a Node, into: &mut Vec<&'a Node>) {
    into.push(node);
    for child in &node.nodes {
        flatten(child, into);
    }
}
