//! What chat templates take for granted because they were written for Python's Jinja: methods of
//! strings and lists, `tojson` as `json.dumps`, `raise_exception`, `strftime_now`.
//!
//! No clock is read: the time is a variable of the rendering. Next: `decoder.rs`.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The variable that holds the time, in seconds since 1970.
pub(crate) const NOW: &str = "__now_unix";

const SECONDS_A_DAY: i64 = 86_400;
const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Adds everything to an environment.
pub(crate) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(state: &State<'_, '_>, format: &str) -> String {
    let now = state.lookup(NOW).and_then(|v| i64::try_from(v).ok());
    strftime(format, now.unwrap_or(0))
}

/// `json.dumps(value, indent=…)`: a space after `:` and `,`, nothing escaped for HTML.
#[expect(clippy::needless_pass_by_value, reason = "the signature minijinja calls")]
fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // `ensure_ascii`, `separators` and `sort_keys` change no meaning.
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(ignored)?;
    }
    options.assert_all_used()?;
    let json = match indent {
        None => write(&value, Spaced),
        Some(n) => write(&value, PrettyFormatter::with_indent(" ".repeat(n.min(16)).as_bytes())),
    };
    json.map(Value::from).map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
}

fn write(value: &Value, formatter: impl Formatter) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Python's default separators.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// C's `strftime` in UTC, for the letters that templates use; others are kept as written.
fn strftime(format: &str, now_unix: i64) -> String {
    let (days, second) = (now_unix.div_euclid(SECONDS_A_DAY), now_unix.rem_euclid(SECONDS_A_DAY));
    let (year, month, day) = civil(days);
    let name = |names: &[&str], i: i64| {
        usize::try_from(i).ok().and_then(|i| names.get(i).copied()).unwrap_or("").to_owned()
    };
    let weekday = || name(&DAYS, days.rem_euclid(7));
    let month_name = || name(&MONTHS, month - 1);
    let short = |name: String| name.chars().take(3).collect::<String>();
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut field = letters.next();
        let padded = field != Some('-');
        if !padded {
            field = letters.next();
        }
        let two = |n: i64| if padded { format!("{n:02}") } else { n.to_string() };
        text.push_str(&match field {
            Some('Y') => year.to_string(),
            Some('y') => two(year.rem_euclid(100)),
            Some('m') => two(month),
            Some('d') => two(day),
            Some('H') => two(second / 3600),
            Some('I') => two((second / 3600 + 11) % 12 + 1),
            Some('p') => if second < 43_200 { "AM" } else { "PM" }.to_owned(),
            Some('M') => two(second / 60 % 60),
            Some('S') => two(second % 60),
            Some('j') => format!("{:03}", days - days_until(year) + 1),
            Some('A') => weekday(),
            Some('a') => short(weekday()),
            Some('B') => month_name(),
            Some('b') => short(month_name()),
            Some('%') => "%".to_owned(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        });
    }
    text
}

/// Year, month and day of a day since 1970.
///
/// **Source**: Howard Hinnant, “chrono-Compatible Low-Level Date Algorithms”, `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

/// Days from 1970 to the first of January of a year.
fn days_until(year: i64) -> i64 {
    let y = year - 1;
    365 * (year - 1970) + (y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400)) - 477
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_on_both_sides_of_leap_days() {
        let check = |now: i64, expect: &str| assert_eq!(strftime("%Y-%m-%d %j %a", now), expect);
        check(0, "1970-01-01 001 Thu");
        check(951_782_400, "2000-02-29 060 Tue");
        check(1_709_164_800, "2024-02-29 060 Thu");
        check(1_735_603_200, "2024-12-31 366 Tue");
        check(-86_400, "1969-12-31 365 Wed");
        assert_eq!(strftime("%-d.%-m. %I%p %q 100%", 43_200), "1.1. 12PM %q 100%");
    }
}
