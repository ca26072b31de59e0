//! Dates as C's `strftime` writes them in UTC, with the codes of Python on Linux.
//!
//! No clock is read: the time is given. Next: `globals.rs`.

use super::meter::{Outcome, fail};

const SECONDS_A_DAY: i64 = 86_400;
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
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

/// A moment to the second, as RFC 3339 writes it but for the zone: `2026-11-29T13:58:09`.
#[must_use]
pub fn utc(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    // Every code in it is known.
    strftime("%FT%T", seconds).unwrap_or_default()
}

/// A moment, in parts.
struct Moment {
    now_unix: i64,
    year: i64,
    month: i64,
    day: i64,
    /// From 1.
    year_day: i64,
    /// From Sunday.
    weekday: i64,
    second: i64,
}

/// Writes a moment; an unknown code is an error that names it.
pub(crate) fn strftime(format: &str, now_unix: i64) -> Outcome<String> {
    let moment = Moment::new(now_unix);
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let flag = letters.next_if(|c| "-_0^#".contains(*c));
        let mut code = letters.next();
        // Other eras and digits are those of the locale, and this one has none.
        if matches!(code, Some('E' | 'O' | ':')) {
            let modifier = code;
            code = letters.next();
            let knows = match modifier {
                Some('E') => "cCxXyY",
                Some('O') => "deHImMSuUVwWy",
                _ => "z",
            };
            if !code.is_some_and(|code| knows.contains(code)) {
                return fail("strftime_now: an unknown code after a modifier");
            }
        }
        let Some(code) = code else { return fail("strftime_now: a single % at the end") };
        let Some(field) = moment.field(code, flag) else {
            return fail(format!("strftime_now: %{code} is not supported"));
        };
        text.push_str(&match flag {
            Some('^') if code != 'P' => field.to_uppercase(),
            Some('#') if code == 'p' || code == 'Z' => field.to_lowercase(),
            Some('#') => field.to_uppercase(),
            _ => field,
        });
    }
    Ok(text)
}

impl Moment {
    fn new(now_unix: i64) -> Self {
        let (days, second) =
            (now_unix.div_euclid(SECONDS_A_DAY), now_unix.rem_euclid(SECONDS_A_DAY));
        let (year, month, day) = civil(days);
        let year_day = days - days_until(year) + 1;
        let weekday = (days + 4).rem_euclid(7);
        Self { now_unix, year, month, day, year_day, weekday, second }
    }

    fn field(&self, code: char, flag: Option<char>) -> Option<String> {
        let padded = |n: i64, width: usize, pad: char| match (flag, pad) {
            (Some('-'), _) => n.to_string(),
            (Some('_'), _) | (None | Some('^' | '#'), ' ') => format!("{n:>width$}"),
            _ => format!("{n:0width$}"),
        };
        let two = |n: i64| padded(n, 2, '0');
        let name = |names: &[&str], i: i64| {
            let i = usize::try_from(i).unwrap_or(usize::MAX);
            names.get(i).copied().unwrap_or_default().to_owned()
        };
        let short = |name: String| name.chars().take(3).collect::<String>();
        let all = |format: &str| strftime(format, self.now_unix).ok();
        let (hour, minute) = (self.second / 3600, self.second / 60 % 60);
        let twelve = (hour + 11) % 12 + 1;
        let (iso_year, iso_week) = self.iso_week();
        Some(match code {
            'a' => short(name(&DAYS, self.weekday)),
            'A' => name(&DAYS, self.weekday),
            'b' | 'h' => short(name(&MONTHS, self.month - 1)),
            'B' => name(&MONTHS, self.month - 1),
            'c' => return all("%a %b %e %H:%M:%S %Y"),
            'C' => two(self.year.div_euclid(100)),
            'd' => two(self.day),
            'D' | 'x' => return all("%m/%d/%y"),
            'e' => padded(self.day, 2, ' '),
            'f' if flag.is_none() => "000000".to_owned(),
            'F' => return all("%Y-%m-%d"),
            'g' => two(iso_year.rem_euclid(100)),
            'G' => iso_year.to_string(),
            'H' => two(hour),
            'I' => two(twelve),
            'j' => padded(self.year_day, 3, '0'),
            'k' => padded(hour, 2, ' '),
            'l' => padded(twelve, 2, ' '),
            'm' => two(self.month),
            'M' => two(minute),
            'n' => "\n".to_owned(),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'P' => if hour < 12 { "am" } else { "pm" }.to_owned(),
            'r' => return all("%I:%M:%S %p"),
            'R' => return all("%H:%M"),
            's' => self.now_unix.to_string(),
            'S' => two(self.second % 60),
            't' => "\t".to_owned(),
            'T' | 'X' => return all("%H:%M:%S"),
            'u' => (if self.weekday == 0 { 7 } else { self.weekday }).to_string(),
            'U' => two((self.year_day - 1 + 7 - self.weekday) / 7),
            'V' => two(iso_week),
            'w' => self.weekday.to_string(),
            'W' => two((self.year_day - 1 + 7 - (self.weekday + 6) % 7) / 7),
            'y' => two(self.year.rem_euclid(100)),
            'Y' => self.year.to_string(),
            // A time without a zone, as `datetime.now()` gives it.
            'z' | 'Z' => String::new(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    /// Year and week of ISO 8601: the week of a day is that of its Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let days = self.now_unix.div_euclid(SECONDS_A_DAY);
        let thursday = days - (self.weekday + 6) % 7 + 3;
        let (year, ..) = civil(thursday);
        (year, (thursday - days_until(year)) / 7 + 1)
    }
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

    fn check(format: &str, now: i64, expect: &str) {
        assert_eq!(strftime(format, now).as_deref(), Ok(expect), "{format} at {now}");
    }

    #[test]
    fn dates_are_right_on_both_sides_of_leap_days() {
        check("%Y-%m-%d %j %a", 0, "1970-01-01 001 Thu");
        check("%F %j %a", 951_782_400, "2000-02-29 060 Tue");
        check("%F %j %a", 1_709_164_800, "2024-02-29 060 Thu");
        check("%F %j %a", 1_735_603_200, "2024-12-31 366 Tue");
        check("%F %j %a", -86_400, "1969-12-31 365 Wed");
        check("%-d.%-m. %I%p 100%%", 43_200, "1.1. 12PM 100%");
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (format, named) in [("%q", "%q"), ("%", "single %"), ("%Q", "%Q"), ("%Ed", "modifier")]
        {
            let why = strftime(format, 0).expect_err("unknown").why;
            assert!(why.contains(named), "{why}");
        }
    }
}
