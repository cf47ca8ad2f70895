//! A condition: parsed, bounded, its patterns compiled; and asked of what is known of a message.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value};
use regex::{Regex, RegexBuilder};

use super::convert::{Facts, Reads};
use super::quick::{self, Known, Step, Untold};
use super::scope;
use crate::network::Network;

/// What conditions are written in, with all that the rules of one direction read.
pub(super) struct Language {
    env: Arc<Env>,
    patterns: Vec<Pattern>,
    reads: Reads,
}

/// One condition, ready.
pub(super) struct Condition {
    expression: IdedExpr,
    /// The short way to its answer, where there is one.
    quick: Option<Step>,
}

/// What is wrong with a condition, and what to do about it.
pub(super) type Flaw = (String, &'static str);

impl Language {
    pub(super) fn new() -> Self {
        let mut env = Env::stdlib();
        // cel's own matches() is not built in: it would compile its pattern for each message.
        let extended = cel::add_member_overload!(env, fn matches: (CelString, Pattern) -> CelBool)
            .and_then(|()| {
                cel::add_member_overload!(env, fn in_network: (CelString, CelString) -> Result<CelBool>, name = "inNetwork")
            });
        debug_assert!(extended.is_ok(), "{extended:?}");
        Self { env: Arc::new(env), patterns: Vec::new(), reads: Reads::default() }
    }

    /// What any of the conditions looks at.
    pub(super) const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Parses `text`, and holds it to the bounds.
    pub(super) fn compile(&mut self, text: &str) -> Result<Condition, Vec<Flaw>> {
        if text.len() > TEXT_BYTES_MAX {
            let wrong = format!("is {} bytes long, and {TEXT_BYTES_MAX} are allowed", text.len());
            return Err(vec![(wrong, "split it into several rules")]);
        }
        let parser = || self.env.parser().max_recursion_depth(RECURSION_MAX).parse(text);
        // The parser is written for expressions that are meant to be some; it must not take a configuration's reader with it.
        let parsed = catch_unwind(AssertUnwindSafe(parser))
            .unwrap_or_else(|_| Err(cel::ParseErrors { errors: Vec::new() }));
        let mut expression = parsed.map_err(|errors| {
            let first = errors.errors.first().map_or("it cannot be parsed", |error| &error.msg);
            if first.contains("Recursion limit") {
                let wrong = format!("has more than {RECURSION_MAX} pairs of brackets within each other");
                return vec![(wrong, "split it into several rules")];
            }
            vec![(format!("is no CEL expression: {}", one_line(first)), SEE)]
        })?;
        scope::check(&expression, &mut self.reads)?;
        let mut flaws = Vec::new();
        self.take_literals(&mut expression, &mut flaws);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let quick = quick::read(&expression, &|place| self.pattern(place).map(|pattern| pattern.0.clone()));
        Ok(Condition { expression, quick })
    }

    /// Compiles the pattern of each `matches()`, and leaves the name of what came of it in its place; and sees whether what `inNetwork()` is
    /// asked of is a network.
    fn take_literals(&mut self, node: &mut IdedExpr, flaws: &mut Vec<Flaw>) {
        if let Expr::Call(call) = &mut node.expr
            && let [argument] = &mut call.args[..]
        {
            match (call.func_name.as_str(), &argument.expr) {
                ("matches", Expr::Literal(LiteralValue::String(pattern))) => {
                    match RegexBuilder::new(pattern.inner()).size_limit(PATTERN_BYTES_MAX).build() {
                        Ok(regex) => {
                            argument.expr = Expr::Ident(format!("{PATTERN}{}", self.patterns.len()));
                            self.patterns.push(Pattern(regex));
                        }
                        Err(error) => flaws.push((
                            format!("has a pattern that cannot be used: {}", one_line(&error.to_string())),
                            "write a regular expression as RE2 has them, without back references",
                        )),
                    }
                }
                ("matches", _) => flaws.push((
                    "matches against what is no string in quotes".to_owned(),
                    "write the pattern itself: one that comes with a message would be compiled for each",
                )),
                ("inNetwork", Expr::Literal(LiteralValue::String(text)))
                    if text.inner().parse::<Network>().is_err() =>
                {
                    flaws.push((
                        format!("looks for an address in {:?}, which is no network", text.inner()),
                        "write it as 10.0.0.0/8 or 2001:db8::/32",
                    ));
                }
                _ => {}
            }
        }
        scope::children_mut(node, &mut |child| self.take_literals(child, flaws));
    }

    /// The pattern whose place this is.
    fn pattern(&self, place: &str) -> Option<&Pattern> {
        self.patterns.get(place.strip_prefix(PATTERN)?.parse::<usize>().ok()?)
    }

    /// What the names in conditions stand for, with `facts`.
    pub(super) fn names<'n, 'f>(&'n self, facts: &'n Facts<'f>) -> Names<'n, 'f> {
        Names { facts, language: self }
    }

    /// What the conditions of one message are worked out in.
    pub(super) fn context<'v>(&self, names: &'v Names<'_, '_>) -> Context<'v, 'v> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(names);
        context
    }
}

impl Condition {
    /// As [`holds`], if that is told the short way.
    pub(super) fn holds_at_once(&self, known: &Known<'_>) -> Option<Result<bool, &'static str>> {
        known.begin();
        match self.quick.as_ref()?.holds(known) {
            Ok(holds) => Some(Ok(holds)),
            Err(Untold::Fails(words)) => Some(Err(words)),
            Err(Untold::InDoubt) => None,
        }
    }
}

/// Whether the condition holds; an error is one that the message brought about, in words that have nothing of it.
pub(super) fn holds(condition: &Condition, context: &Context<'_, '_>) -> Result<bool, &'static str> {
    // What the interpreter does not foresee must cost this message alone.
    let outcome = catch_unwind(AssertUnwindSafe(|| Value::resolve(&condition.expression, context)));
    match outcome {
        Ok(Ok(Value::Bool(holds))) => Ok(holds),
        Ok(Ok(_)) => Err("the condition is neither true nor false"),
        Ok(Err(error)) => Err(described(&error)),
        Err(_) => Err("the condition could not be worked out"),
    }
}

/// What the names in a condition stand for.
pub(super) struct Names<'n, 'f> {
    facts: &'n Facts<'f>,
    language: &'n Language,
}

impl VariableResolver for Names<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match self.language.pattern(variable) {
            Some(pattern) => Some(CowVal::Borrowed(pattern)),
            None => self.facts.value(variable),
        }
    }
}

/// A pattern that is compiled once.
#[derive(Clone, Debug)]
struct Pattern(Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        static TYPE: Type = Type::new_unspecified_type("drawgate.Pattern");
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

fn matches(this: &CelString<'_>, pattern: &Pattern) -> CelBool {
    CelBool::from(pattern.0.is_match(this.inner()))
}

fn in_network(this: &CelString<'_>, network: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let unusable = |what| ExecutionError::function_error("inNetwork", what);
    let address = this.inner().parse().map_err(|_| unusable("no address"))?;
    let network: Network = network.inner().parse().map_err(|_| unusable("no network"))?;
    Ok(CelBool::from(network.contains(address)))
}

/// What went wrong, by its kind: the errors themselves hold what the message says.
fn described(error: &ExecutionError) -> &'static str {
    match error {
        ExecutionError::NoSuchKey(_) => NO_MEMBER,
        ExecutionError::IndexOutOfBounds(_) => BEYOND_THE_END,
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..) => OTHER_TYPE,
        ExecutionError::Overflow(..)
        | ExecutionError::DivisionByZero(_)
        | ExecutionError::RemainderByZero(_) => NO_RESULT,
        _ => NOT_WORKED_OUT,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) const NO_MEMBER: &str =
    "the condition asks for a member that is not there; has() tells whether it is";
pub(super) const BEYOND_THE_END: &str = "the condition asks for an element beyond the end";
pub(super) const OTHER_TYPE: &str = "the condition works with a value of another type than came";
pub(super) const NO_RESULT: &str = "the condition calculates what has no result";
pub(super) const TOO_LONG: &str = "the condition would take too long with so many elements";
pub(super) const NOT_WORKED_OUT: &str = "the condition could not be worked out";

/// The longest condition, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// How often the parser may come back to its beginning, as it does for each pair of brackets. How deep expressions lie in each other is for
/// `scope.rs` to bound.
const RECURSION_MAX: u16 = 32;
/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// What the name of a compiled pattern begins with: no name in CEL can.
const PATTERN: &str = "@pattern";
pub(super) const SEE: &str = "see docs/policy.md for what conditions are made of";
