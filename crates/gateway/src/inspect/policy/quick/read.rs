//! From a condition as the `cel` crate has parsed it to steps; nothing, where any part of it is not known here.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use regex::Regex;

use super::{Calculation, Comparison, Literal, Step, Test, TextTest};

/// The steps to the answer of a condition that `scope.rs` has let through. `pattern` knows the patterns by what stands in their places.
pub(in super::super) fn read(expression: &IdedExpr, pattern: &dyn Fn(&str) -> Option<Regex>) -> Option<Step> {
    Reader { pattern, element: None }.step(expression)
}

#[derive(Clone, Copy)]
struct Reader<'e> {
    pattern: &'e dyn Fn(&str) -> Option<Regex>,
    /// What the loop around this place calls what it is at.
    element: Option<&'e str>,
}

impl<'e> Reader<'e> {
    fn step(&self, node: &'e IdedExpr) -> Option<Step> {
        match &node.expr {
            Expr::Literal(value) => literal(value).map(Step::Literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.repeated(comprehension),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => None,
        }
    }

    fn boxed(&self, node: &'e IdedExpr) -> Option<Box<Step>> {
        self.step(node).map(Box::new)
    }

    fn pair(&self, one: &'e IdedExpr, other: &'e IdedExpr) -> Option<Box<[Step; 2]>> {
        Some(Box::new([self.step(one)?, self.step(other)?]))
    }

    fn name(&self, name: &str) -> Option<Step> {
        match name {
            _ if self.element == Some(name) => Some(Step::Element),
            "message" => Some(Step::Message),
            "claims" => Some(Step::Claims),
            "direction" => Some(Step::Direction),
            _ => None,
        }
    }

    fn select(&self, select: &'e SelectExpr) -> Option<Step> {
        let field = select.field.as_str();
        if let Expr::Ident(name) = &select.operand.expr
            && self.element != Some(name)
        {
            match (name.as_str(), field, select.test) {
                ("session", "subject", false) => return Some(Step::Subject),
                ("session", "subject", true) => return Some(Step::Test(Test::HasSubject)),
                ("session", "id", true) => return Some(Step::Test(Test::HasSession)),
                ("client", "address", false) => return Some(Step::ClientAddress),
                _ => {}
            }
        }
        let holder = self.boxed(&select.operand)?;
        Some(if select.test {
            Step::Test(Test::Has(holder, field.into()))
        } else {
            Step::Member(holder, field.into())
        })
    }

    fn call(&self, call: &'e CallExpr) -> Option<Step> {
        let function = call.func_name.as_str();
        match (call.target.as_deref(), &call.args[..]) {
            (Some(target), [argument]) => self.method(function, target, argument).map(Step::Test),
            (Some(value), []) | (None, [value]) if function == "size" => self.boxed(value).map(Step::Size),
            (None, [value]) => match function {
                "!_" => self.boxed(value).map(|step| Step::Test(Test::Not(step))),
                "-_" => self.boxed(value).map(Step::Negate),
                _ => None,
            },
            (None, [one, other]) => match function {
                "_[_]" => self.pair(one, other).map(Step::Index),
                _ => match calculation(function) {
                    Some(calculation) => Some(Step::Calculate(calculation, self.pair(one, other)?)),
                    None => self.test(function, one, other).map(Step::Test),
                },
            },
            (None, [condition, one, other]) if function == "_?_:_" => {
                Some(Step::Choice(Box::new([self.step(condition)?, self.step(one)?, self.step(other)?])))
            }
            _ => None,
        }
    }

    fn method(&self, function: &str, target: &'e IdedExpr, argument: &'e IdedExpr) -> Option<Test> {
        let test = match (function, &argument.expr) {
            ("matches", Expr::Ident(place)) => {
                return Some(Test::Matches(self.boxed(target)?, (self.pattern)(place)?));
            }
            ("inNetwork", Expr::Literal(LiteralValue::String(network))) => {
                return Some(Test::InNetwork(self.boxed(target)?, network.inner().parse().ok()?));
            }
            ("contains", _) => TextTest::Contains,
            ("startsWith", _) => TextTest::StartsWith,
            ("endsWith", _) => TextTest::EndsWith,
            _ => return None,
        };
        Some(Test::Text(test, self.pair(target, argument)?))
    }

    fn test(&self, operator: &str, one: &'e IdedExpr, other: &'e IdedExpr) -> Option<Test> {
        if let Some(comparison) = comparison(operator) {
            return Some(Test::Compare(comparison, self.pair(one, other)?));
        }
        match (operator, &other.expr) {
            ("_&&_", _) => self.pair(one, other).map(Test::And),
            ("_||_", _) => self.pair(one, other).map(Test::Or),
            ("@in", Expr::List(list)) => {
                let elements = list.elements.iter().map(|element| match &element.expr {
                    Expr::Literal(value) => literal(value),
                    _ => None,
                });
                Some(Test::InList(self.boxed(one)?, elements.collect::<Option<_>>()?))
            }
            ("@in", _) => self.pair(one, other).map(Test::In),
            _ => None,
        }
    }

    /// What `exists()` and `all()` are written out to.
    fn repeated(&self, comprehension: &'e ComprehensionExpr) -> Option<Step> {
        let ComprehensionExpr {
            iter_range,
            iter_var,
            iter_var2: None,
            accu_var,
            accu_init,
            loop_cond,
            loop_step,
            result,
        } = comprehension
        else {
            return None;
        };
        let is_so_far = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == accu_var);
        let Expr::Literal(LiteralValue::Boolean(at_first)) = &accu_init.expr else { return None };
        let until = !*at_first.inner();
        let ("@not_strictly_false", [goes_on]) = called(loop_cond)? else { return None };
        let (step, goes_on) = match until {
            true => ("_||_", negated_by(goes_on)?),
            false => ("_&&_", goes_on),
        };
        let (function, [so_far, condition]) = called(loop_step)? else { return None };
        let is_known = function == step
            && is_so_far(goes_on)
            && is_so_far(so_far)
            && is_so_far(result)
            && self.element.is_none();
        let within = Self { element: Some(iter_var), ..*self };
        is_known.then_some(())?;
        Some(Step::Test(Test::Loop(until, Box::new([self.step(iter_range)?, within.step(condition)?]))))
    }
}

/// The function that is called with these arguments alone.
fn called(node: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    match &node.expr {
        Expr::Call(CallExpr { func_name, target: None, args }) => Some((func_name, args)),
        _ => None,
    }
}

fn negated_by(node: &IdedExpr) -> Option<&IdedExpr> {
    match called(node)? {
        ("!_", [negated]) => Some(negated),
        _ => None,
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "_==_" => Comparison::Equal,
        "_!=_" => Comparison::NotEqual,
        "_<_" => Comparison::Less,
        "_<=_" => Comparison::LessOrEqual,
        "_>_" => Comparison::Greater,
        "_>=_" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn calculation(operator: &str) -> Option<Calculation> {
    Some(match operator {
        "_+_" => Calculation::Add,
        "_-_" => Calculation::Subtract,
        "_*_" => Calculation::Multiply,
        "_/_" => Calculation::Divide,
        "_%_" => Calculation::Remainder,
        _ => return None,
    })
}

fn literal(value: &LiteralValue) -> Option<Literal> {
    Some(match value {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(holds) => Literal::Bool(*holds.inner()),
        LiteralValue::Int(number) => Literal::Int(*number.inner()),
        LiteralValue::UInt(number) => Literal::Uint(*number.inner()),
        LiteralValue::Double(number) if number.inner().is_finite() => Literal::Double(*number.inner()),
        LiteralValue::String(text) => Literal::Text(text.inner().into()),
        LiteralValue::Double(_) | LiteralValue::Bytes(_) => return None,
    })
}
