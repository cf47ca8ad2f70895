//! What an expression names and what it can cost, told before any message comes.

use std::collections::BTreeSet;
use std::mem;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr};

use super::condition::{Flaw, SEE};
use super::convert::{Members, Reads};

/// Holds the expression to the names that there are and to the bounds, and adds what it looks at to `reads`.
pub(super) fn check(expression: &IdedExpr, reads: &mut Reads) -> Result<(), Vec<Flaw>> {
    let mut walk = Walk {
        reads,
        flaws: BTreeSet::new(),
        bound: Vec::new(),
        loops: 0,
        depth: 0,
        is_test: false,
        is_range: false,
    };
    walk.visit(expression);
    if walk.flaws.is_empty() { Ok(()) } else { Err(walk.flaws.into_iter().collect()) }
}

struct Walk<'r> {
    reads: &'r mut Reads,
    flaws: BTreeSet<Flaw>,
    /// The names that loops around this place have bound.
    bound: Vec<String>,
    /// How many loops there are around this place.
    loops: usize,
    /// How many expressions there are around this place.
    depth: usize,
    /// Whether a member is there is all that is asked here.
    is_test: bool,
    /// What is made here is what a loop goes over.
    is_range: bool,
}

impl Walk<'_> {
    fn visit(&mut self, node: &IdedExpr) {
        // The parser does not bound what is written one behind the other, as a.b.c or 1 + 2 + 3, and each lies within the next.
        if self.depth == DEPTH_MAX {
            let wrong = format!("has expressions within each other, more than {DEPTH_MAX} deep");
            self.flaws.insert((wrong, "split it into several rules"));
            return;
        }
        self.depth += 1;
        self.look_at(node);
        self.depth -= 1;
    }

    fn look_at(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => self.name(name, None),
            Expr::Select(select) => {
                let was_test = self.is_test;
                self.is_test |= select.test;
                match &select.operand.expr {
                    Expr::Ident(name) => self.name(name, Some(&select.field)),
                    _ => self.visit(&select.operand),
                }
                self.is_test = was_test;
            }
            Expr::Call(call) => {
                self.call(call);
                let was_test = mem::take(&mut self.is_test);
                if let Some(target) = &call.target {
                    self.visit(target);
                }
                call.args.iter().for_each(|argument| self.visit(argument));
                self.is_test = was_test;
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(named) => {
                let wrong = format!("makes a {}, and there are no such types", named.type_name);
                self.flaws.insert((wrong, SEE));
            }
            Expr::List(_) | Expr::Map(_) => children(node, &mut |child| self.visit(child)),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn name(&mut self, name: &str, member: Option<&str>) {
        if self.bound.iter().any(|bound| bound == name) {
            return;
        }
        match name {
            "message" => {
                // What is compared may be of another type than it should, and then cel copies both sides to say so.
                if self.loops > 0 && !self.is_test {
                    let wrong = "looks at the message within a loop, whose work grows with the square of it"
                        .to_owned();
                    let advice = "within a loop use the element, claims, session and client; of the message has() alone";
                    self.flaws.insert((wrong, advice));
                }
                self.reads.message.add(member);
            }
            "claims" => self.reads.claims.add(member),
            "client" if member.is_some_and(|member| member != "address") => {
                let wrong = format!("names client.{}, which there is not", member.unwrap_or_default());
                self.flaws.insert((wrong, "there is client.address"));
            }
            "session" if member.is_some_and(|member| !matches!(member, "id" | "subject")) => {
                let wrong = format!("names session.{}, which there is not", member.unwrap_or_default());
                self.flaws.insert((wrong, "there are session.id and session.subject"));
            }
            "session" | "client" | "direction" => {}
            // The types, as in type(message.id) == string.
            "bool" | "int" | "uint" | "double" | "string" | "bytes" | "list" | "map" | "null_type" => {}
            _ => {
                let wrong = format!("names {name:?}, which there is not");
                self.flaws.insert((wrong, "there are message, claims, session, client and direction"));
            }
        }
    }

    fn call(&mut self, call: &CallExpr) {
        let (function, arguments) = (call.func_name.as_str(), &call.args[..]);
        if METHODS.contains(&function) {
            if call.target.is_none() || arguments.len() != 1 {
                let wrong = format!("calls {function}() other than as text.{function}(\"…\")");
                self.flaws.insert((wrong, SEE));
            }
        } else if FUNCTIONS.contains(&function) {
            let is_of_one = match &call.target {
                None => arguments.len() == 1,
                Some(_) => function == "size" && arguments.is_empty(),
            };
            if !is_of_one {
                let wrong = format!("calls {function}() other than as {function}(value)");
                self.flaws.insert((wrong, SEE));
            }
        } else if !OPERATORS.contains(&function) {
            let wrong = format!("calls {function}(), which there is not");
            self.flaws.insert((wrong, SEE));
        }
        if function == "@in" && arguments.iter().all(|argument| names_any(argument, &self.bound)) {
            let wrong =
                "looks for a part of the message in another, which grows with the square of it".to_owned();
            self.flaws.insert((wrong, "compare it with what the rule or the claims say"));
        }
        // The expansion of map() and filter() adds an element to what they have so far.
        let grows = matches!(arguments.first(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name.starts_with('@'));
        if function == "_+_" && self.loops > 0 && !grows {
            let wrong = "adds within a loop, where texts and lists could grow without end".to_owned();
            self.flaws.insert((wrong, "add outside of exists(), all(), map() and filter()"));
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) {
        if self.is_range && makes_elements(comprehension) {
            let wrong = "has a loop over what map() makes, which could grow with each".to_owned();
            self.flaws.insert((wrong, "write what map() makes into the loop itself"));
        }
        let was_range = mem::replace(&mut self.is_range, true);
        self.visit(&comprehension.iter_range);
        self.is_range = was_range;
        self.visit(&comprehension.accu_init);
        if self.loops > 0 {
            let wrong = "has a loop within a loop, whose work grows with the square of a message".to_owned();
            self.flaws.insert((wrong, "write two rules, or check the shape in the schema"));
        }
        let before = self.bound.len();
        self.bound.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
        self.bound.extend(comprehension.iter_var2.clone());
        self.loops += 1;
        for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
            self.visit(part);
        }
        self.loops -= 1;
        self.bound.truncate(before);
    }
}

impl Members {
    fn add(&mut self, member: Option<&str>) {
        match (&mut *self, member) {
            (Self::Some(names), Some(member)) => {
                names.insert(member.to_owned());
            }
            (_, None) => *self = Self::All,
            (Self::All, Some(_)) => {}
        }
    }
}

/// Whether the message stands in it anywhere, by its own name or as the element of a loop.
fn names_any(node: &IdedExpr, elements: &[String]) -> bool {
    let names_message = |node: &IdedExpr| names_any(node, elements);
    match &node.expr {
        Expr::Ident(name) => name == "message" || elements.contains(name),
        Expr::Select(select) => names_message(&select.operand),
        Expr::Call(call) => {
            call.target.as_deref().is_some_and(names_message) || call.args.iter().any(names_message)
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } =
                &**comprehension;
            [iter_range, accu_init, loop_cond, loop_step, result].into_iter().any(names_message)
        }
        Expr::List(_) | Expr::Map(_) => {
            let mut is_named = false;
            children(node, &mut |child| is_named |= names_message(child));
            is_named
        }
        Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => false,
    }
}

/// Whether it is written out of a `map()`: what it adds to what it has is other than the elements themselves.
fn makes_elements(comprehension: &ComprehensionExpr) -> bool {
    let added = |step: &IdedExpr| match &step.expr {
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == "_+_" => match &args[..] {
            [_, IdedExpr { expr: Expr::List(list), .. }] => !list
                .elements
                .iter()
                .all(|made| matches!(&made.expr, Expr::Ident(name) if *name == comprehension.iter_var)),
            _ => false,
        },
        _ => false,
    };
    match &comprehension.loop_step.expr {
        // With a condition, as filter() has one.
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == "_?_:_" => args.iter().any(added),
        _ => added(&comprehension.loop_step),
    }
}

/// Calls `each` for every expression that lies directly in this one.
fn children<'e>(node: &'e IdedExpr, each: &mut dyn FnMut(&'e IdedExpr)) {
    match &node.expr {
        Expr::List(list) => list.elements.iter().for_each(each),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    each(&entry.key);
                    each(&entry.value);
                }
            }
        }
        _ => {}
    }
}

/// Calls `each` for every expression that lies directly in this one.
pub(super) fn children_mut(node: &mut IdedExpr, each: &mut dyn FnMut(&mut IdedExpr)) {
    match &mut node.expr {
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                each(target);
            }
            call.args.iter_mut().for_each(each);
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } =
                &mut **comprehension;
            [iter_range, accu_init, loop_cond, loop_step, result].into_iter().for_each(each);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(each),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    each(&mut entry.key);
                    each(&mut entry.value);
                }
            }
        }
        Expr::Select(select) => each(&mut select.operand),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// The operators that conditions have, by the names that the parser gives them.
const OPERATORS: [&str; 19] = [
    "_&&_",
    "_||_",
    "!_",
    "_?_:_",
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "_+_",
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
];

/// The functions of a text, with one argument.
const METHODS: [&str; 5] = ["contains", "startsWith", "endsWith", "matches", "inNetwork"];

/// The functions of one value.
const FUNCTIONS: [&str; 9] = ["size", "type", "int", "uint", "double", "string", "bool", "bytes", "dyn"];

/// How deep expressions may lie in each other once loops are written out; they are worked out by recursion.
const DEPTH_MAX: usize = 64;
