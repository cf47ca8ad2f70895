//! JSON-Schema-Test-Suite, draft 2020-12: its required part, and the formats that are asserted (`suites/json_schema_2020_12.json`).
//!
//! docs/validation.md explains each disagreement that is listed here.

use std::collections::BTreeMap;

use drawgate::inspect::Schema;
use drawgate::json::{Limits, read};
use serde::Deserialize;
use serde_json::Value;

const SUITE: &str = include_str!("suites/json_schema_2020_12.json");

#[derive(Deserialize)]
struct Group {
    description: String,
    schema: Value,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    description: String,
    data: Value,
    valid: bool,
}

/// A kind of disagreement: the file, how the description of the group or of the test begins, and why.
type Explained = (&'static str, &'static str, &'static str);

/// Groups whose schema is refused when it is loaded.
const REFUSED: [Explained; 7] = [
    ("refRemote", "", "what is elsewhere is not fetched"),
    ("dynamicRef", "strict-tree schema", "the same"),
    ("dynamicRef", "tests for implementation", "the same"),
    ("dynamicRef", "$ref and $dynamicAnchor are independent of order", "the same"),
    ("dynamicRef", "$ref to $dynamicRef finds", "the same"),
    ("vocabulary", "schema that uses custom metaschema", "another dialect"),
    ("vocabulary", "ignore unrecognized optional vocabulary", "another dialect"),
];

/// Tests that come out otherwise.
const OTHERWISE: [Explained; 5] = [
    ("format", "invalid ", "formats are asserted and no annotation"),
    ("optional/format/email", "a quoted string", "quoted local parts are refused"),
    ("optional/format/email", "an IPv4-address-literal", "so are address literals"),
    ("optional/format/email", "an IPv6-address-literal", "so are address literals"),
    ("optional/format/idn-email", "a valid idn e-mail", "a local part beyond ASCII looks like others"),
];

#[test]
fn the_suite_is_agreed_with_but_for_what_is_explained() {
    let suite: BTreeMap<String, Vec<Group>> = serde_json::from_str(SUITE).unwrap();
    let (mut refused, mut otherwise, mut agreed) = (Vec::new(), Vec::new(), 0);
    for (file, groups) in &suite {
        for group in groups {
            let Ok(schema) = Schema::compile(&group.schema.to_string()) else {
                refused.push((&**file, &*group.description));
                continue;
            };
            for test in &group.tests {
                let text = test.data.to_string();
                let document = read(&text, &Limits::default()).unwrap();
                let judged = schema.check_document(&document);
                assert_eq!(judged, schema.check(&test.data), "{file}: {}", test.description);
                assert_eq!(judged.is_ok(), schema.fits(&document), "{file}: {}", test.description);
                if judged.is_ok() == test.valid {
                    agreed += 1;
                } else {
                    otherwise.push((&**file, &*test.description));
                }
            }
        }
    }
    held_to(&refused, &REFUSED);
    held_to(&otherwise, &OTHERWISE);
    assert_eq!((agreed, refused.len(), otherwise.len()), (AGREED, 22, 25));
}

/// Every disagreement is explained, and every explanation is needed.
fn held_to(found: &[(&str, &str)], explained: &[Explained]) {
    let is_of = |(file, description): (&str, &str), (in_file, begins, _): &Explained| {
        file == *in_file && description.starts_with(begins)
    };
    for one in found {
        assert!(explained.iter().any(|explained| is_of(*one, explained)), "not explained: {one:?}");
    }
    for (file, begins, why) in explained {
        let is_needed = found.iter().any(|one| is_of(*one, &(file, begins, why)));
        assert!(is_needed, "{file}: {begins} is agreed with");
    }
}

/// How many tests come out as the suite has them.
const AGREED: u32 = 1368;
