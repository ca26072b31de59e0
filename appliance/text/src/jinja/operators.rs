//! Arithmetic as Python's, within 127 bits: what is beyond is an error, never another number.
//! Next: `percent.rs` (`'…' % values`).

use super::ast::Operator;
use super::compare::Number;
use super::meter::{Meter, Outcome, fail};
use super::value::{List, Value};
use super::{arguments, percent};

const TOO_LARGE: &str = "integers beyond 127 bits are not supported";
/// Integers up to here are exact as `f64`.
const EXACT_MAX: i128 = 1 << 53;

/// `left operator right`.
pub(crate) fn binary(
    operator: Operator,
    left: &Value,
    right: &Value,
    meter: &Meter,
) -> Outcome<Value> {
    if let (Value::Undefined(why), _) | (_, Value::Undefined(why)) = (left, right) {
        return fail(&**why);
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return match (left, right) {
            (Number::Int(a), Number::Int(b)) => integers(operator, a, b),
            _ => floats(operator, left.float(), right.float()).map(Value::Float),
        };
    }
    match (operator, left, right) {
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            meter.letters(a.len() + b.len())?;
            Ok(Value::Text(a.letters().iter().chain(b.letters()).copied().collect()))
        }
        (Operator::Add, Value::List(a), Value::List(b)) => joined(a, b, meter).map(Value::List),
        (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => joined(a, b, meter).map(Value::Tuple),
        (Operator::Mul, Value::Text(_) | Value::List(_) | Value::Tuple(_), count)
        | (Operator::Mul, count, Value::Text(_) | Value::List(_) | Value::Tuple(_))
            if matches!(Number::of(count), Some(Number::Int(_))) =>
        {
            let Some(Number::Int(count)) = Number::of(count) else { return fail(TOO_LARGE) };
            let of = if Number::of(left).is_some() { right } else { left };
            repeated(of, arguments::count(count), meter)
        }
        (Operator::Mod, Value::Text(format), values) => {
            percent::format(format, values, meter).map(Value::Text)
        }
        _ => {
            let (sign, a, b) = (sign(operator), left.kind(), right.kind());
            fail(format!("unsupported operand type(s) for {sign}: '{a}' and '{b}'"))
        }
    }
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Sub => "-",
        Operator::Mul => "*",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "**",
    }
}

fn joined(a: &List, b: &List, meter: &Meter) -> Outcome<std::rc::Rc<List>> {
    meter.items(a.items.len() + b.items.len())?;
    List::new(a.items.iter().chain(&b.items).cloned().collect())
}

fn repeated(value: &Value, count: usize, meter: &Meter) -> Outcome<Value> {
    let made = value.len().unwrap_or(0).saturating_mul(count);
    match value {
        Value::Text(text) => {
            meter.letters(made)?;
            Ok(Value::Text(text.letters().repeat(count).into()))
        }
        Value::List(list) | Value::Tuple(list) => {
            meter.items(made)?;
            let many = List::new(list.items.iter().cycle().take(made).cloned().collect())?;
            let is_list = matches!(value, Value::List(_));
            Ok(if is_list { Value::List(many) } else { Value::Tuple(many) })
        }
        _ => fail(TOO_LARGE),
    }
}

fn integers(operator: Operator, a: i128, b: i128) -> Outcome<Value> {
    let zero = b == 0;
    let made = match operator {
        Operator::Div if zero => return fail("division by zero"),
        Operator::FloorDiv | Operator::Mod if zero => {
            return fail("integer division or modulo by zero");
        }
        Operator::Add => a.checked_add(b),
        Operator::Sub => a.checked_sub(b),
        Operator::Mul => a.checked_mul(b),
        Operator::Div => return divided(a, b),
        Operator::FloorDiv => a.checked_div_euclid(b).map(|_| floor(a, b)),
        Operator::Mod => {
            a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
        }
        Operator::Pow if b < 0 => {
            let (a, b) = (Number::Int(a).float(), Number::Int(b).float());
            return floats(Operator::Pow, a, b).map(Value::Float);
        }
        Operator::Pow => match a {
            0 | 1 => Some(if zero { 1 } else { a }),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        },
    };
    made.map_or_else(|| fail(TOO_LARGE), |int| Ok(Value::Int(int)))
}

fn floor(a: i128, b: i128) -> i128 {
    let quotient = a / b;
    if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

fn divided(a: i128, b: i128) -> Outcome<Value> {
    if a.abs().max(b.abs()) > EXACT_MAX {
        return fail("a division of integers beyond 53 bits is not supported");
    }
    Ok(Value::Float(Number::Int(a).float() / Number::Int(b).float()))
}

fn floats(operator: Operator, a: f64, b: f64) -> Outcome<f64> {
    Ok(match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div | Operator::FloorDiv | Operator::Mod if b == 0.0 => {
            return fail("float division by zero");
        }
        Operator::Div => a / b,
        Operator::FloorDiv => divided_floats(a, b).0,
        Operator::Mod => divided_floats(a, b).1,
        Operator::Pow => power(a, b)?,
    })
}

/// Quotient and rest as CPython's `float_divmod`.
fn divided_floats(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn power(a: f64, b: f64) -> Outcome<f64> {
    if a == 0.0 && b < 0.0 {
        return fail("0.0 cannot be raised to a negative power");
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        return fail("complex numbers are not supported");
    }
    let made = a.powf(b);
    if made.is_infinite() && a.is_finite() && b.is_finite() {
        return fail("a number too large");
    }
    Ok(made)
}

/// `-value` and `+value`.
pub(crate) fn unary(negative: bool, value: &Value) -> Outcome<Value> {
    match (value, Number::of(value)) {
        (Value::Undefined(why), _) => fail(&**why),
        (_, Some(Number::Int(int))) => match if negative { int.checked_neg() } else { Some(int) } {
            Some(int) => Ok(Value::Int(int)),
            None => fail(TOO_LARGE),
        },
        (_, Some(Number::Float(float))) => Ok(Value::Float(if negative { -float } else { float })),
        _ => {
            let (sign, kind) = (if negative { '-' } else { '+' }, value.kind());
            fail(format!("bad operand type for unary {sign}: '{kind}'"))
        }
    }
}
