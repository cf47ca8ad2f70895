//! What it costs to look into messages: a relayed message on a route that inspects it, over the same on one that does not. And the worst
//! documents that are known.

use std::io;

use super::messages::message_ns;
use super::relay::Field;
use super::{Plan, Section};
use crate::client::{Batch, Opcode};
use crate::figures::{Figure, Table};
use crate::server::Kind;

/// CPU time for a message over 100 connections.
///
/// # Errors
/// A server does not start, or the echo does not come back through it.
pub fn measure(plan: &Plan) -> io::Result<Section> {
    let field = Field::start(plan, &KINDS)?;
    let message = Batch::new(Opcode::Text, order().as_bytes(), 1);
    let mut ns = vec![Figure::default(); KINDS.len()];
    let mut ratios = ns.clone();
    let mut worst = vec![Figure::default(); worst_documents().len()];
    for round in 0..plan.rounds {
        let mut costs = vec![f64::NAN; field.proxies.len()];
        for turn in 0..costs.len() {
            let number = (turn + round) % costs.len();
            costs[number] = message_ns(plan, &field.proxies[number], &message)?;
        }
        for (number, cost) in costs.iter().enumerate() {
            ns[number].push(*cost);
            ratios[number].push(cost / costs[0]);
        }
        let ruled = field.proxies.iter().find(|proxy| proxy.kind == Kind::DrawgateRules);
        if let Some(ruled) = ruled {
            for ((_, document), figure) in worst_documents().iter().zip(&mut worst) {
                let batch = Batch::new(Opcode::Text, document.as_bytes(), 1);
                figure.push(message_ns(plan, ruled, &batch)?);
            }
        }
        eprintln!("validation: round {} of {}", round + 1, plan.rounds);
    }
    let mut table = Table::new(&["what is looked at", "CPU, µs", "over a message that is not looked into"]);
    let mut figures = Vec::new();
    for (number, label) in
        ["nothing", "strict JSON and a schema", "the same and five rules", "nothing, and sealed both ways"]
            .into_iter()
            .enumerate()
    {
        table.push(vec![label.to_owned(), ns[number].scaled(0.001).text(2), ratios[number].text(2)]);
        figures.push((format!("drawgate, {label}"), ratios[number].median()));
    }
    let mut worst_table = Table::new(&["document", "bytes", "CPU, ms"]);
    for ((label, document), figure) in worst_documents().iter().zip(&worst) {
        worst_table.push(vec![(*label).to_owned(), document.len().to_string(), figure.scaled(1e-6).text(3)]);
        figures.push((format!("drawgate, {label}"), figure.median()));
    }
    field.stop()?;
    let body = format!(
        "CPU time of the proxy for a message of 1 KiB there and back: an order of ten items by a user with a session, in front of an \
         application, replies not looked into. Goals: 1.5 with strict JSON and a JSON Schema, 2.0 with five CEL rules more, 1.5 sealed \
         (compact JWE, opened on the way there and sealed on the way back). Medians of {} \
         runs, with their quartiles; proxies take turns.\n\n{}\nThe worst documents of up to 64 KiB that are known, each there and back, with \
         the schema and the rules on; the first look refuses none of them. Goal: 2 ms.\n\n{}",
        plan.rounds,
        table.markdown(),
        worst_table.markdown()
    );
    Ok(Section { title: "Messages that are looked into", body, figures })
}

/// A message as a shop's page might send it, of 1 KiB.
#[must_use]
pub fn order() -> String {
    let item = |number: usize| {
        format!(
            r#"{{"sku":"SKU-{number:05}","name":"a thing of many","count":{},"cents":{}}}"#,
            number % 9 + 1,
            number * 199
        )
    };
    let items: Vec<String> = (1..=10).map(item).collect();
    let mut text = format!(
        r#"{{"type":"order.place","id":"7d444840-9dc0-11d1-b245-5ffdce74fad2","email":"ada@example.com","at":"2026-11-26T12:00:00Z","items":[{}],"note":""#,
        items.join(",")
    );
    let left = 1024 - text.len() - 2;
    text.push_str(&"ring twice, please; ".repeat(60)[..left]);
    text.push_str("\"}");
    text
}

/// What costs most, as far as anybody has found: each is an order by its type, so that nothing is refused before all is looked at.
fn worst_documents() -> Vec<(&'static str, String)> {
    let with = |more: &str| format!(r#"{{"type":"other.thing","more":{more}}}"#);
    vec![
        ("10,000 small numbers", with(&format!("[{}0]", "0,".repeat(9_900)))),
        ("10,000 empty objects", with(&format!("[{}{{}}]", "{},".repeat(9_900)))),
        ("numbers of 40 digits", with(&format!("[{}1]", format!("0.{}17,", "0".repeat(36)).repeat(1_500)))),
        (
            "members of many objects",
            with(&format!("[{}{{}}]", r#"{"a":1,"b":2,"c":3,"d":4},"#.repeat(1_950))),
        ),
        ("one text of escapes", with(&format!("\"{}\"", "\\u00e9".repeat(10_800)))),
        ("short texts", with(&format!("[{}\"\"]", "\"ab\",".repeat(9_900)))),
    ]
}

const KINDS: [Kind; 4] =
    [Kind::DrawgateRelay, Kind::DrawgateSchema, Kind::DrawgateRules, Kind::DrawgateSealed];
