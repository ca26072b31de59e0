//! Lines in a pair of axes, as inline SVG.
//!
//! It knows nothing of a bench. Next: `page.rs`.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
/// Room for the names of lines.
const RIGHT: f64 = 190.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 44.0;
/// Ticks of an axis, about.
const TICKS: f64 = 6.0;

/// Told apart by everybody (Okabe and Ito, 2008), but their yellow, which is pale on white.
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#777777"];

/// One plot.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// A limit on the x axis.
    pub(crate) limit: Option<f64>,
    pub(crate) lines: Vec<Line>,
}

/// An axis; a linear one begins at 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) is_log: bool,
}

/// Points that belong together, in the units of the axes.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: usize,
    pub(crate) is_dashed: bool,
    /// Each point is a measurement, and is shown as one.
    pub(crate) has_marks: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Where values are on the paper.
#[derive(Clone, Copy, Debug)]
struct Scale {
    is_log: bool,
    values: (f64, f64),
    paper: (f64, f64),
}

impl Plot {
    /// The plot as SVG; nothing where there is no point.
    pub(crate) fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        if all().next().is_none() {
            return String::new();
        }
        let limit = self.limit.into_iter();
        let x = Scale::new(self.x, all().map(|p| p.0).chain(limit), (LEFT, WIDTH - RIGHT));
        let y = Scale::new(self.y, all().map(|p| p.1), (HEIGHT - BOTTOM, TOP));
        let mut svg = Svg(format!(
            "<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} height={HEIGHT} role=img>\
             <title>{0}</title><text x={LEFT} y=18 class=title>{0}</text>",
            self.title
        ));
        self.axes(&mut svg, x, y);
        if let Some(limit) = self.limit {
            let at = x.at(limit);
            svg.add(format_args!("<path d='M{at:.1} {TOP}V{:.1}' class=limit />", HEIGHT - BOTTOM));
        }
        for (number, line) in (0_u16..).zip(&self.lines) {
            svg.line(line, number, x, y);
        }
        svg.0 + "</svg>"
    }

    fn axes(&self, svg: &mut Svg, x: Scale, y: Scale) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for value in x.ticks() {
            let (at, text) = (x.at(value), number(value));
            svg.add(format_args!(
                "<path d='M{at:.1} {TOP}V{bottom}' class=grid /><text x={at:.1} y={:.1} \
                 text-anchor=middle>{text}</text>",
                bottom + 15.0
            ));
        }
        for value in y.ticks() {
            let (at, text) = (y.at(value), number(value));
            svg.add(format_args!(
                "<path d='M{LEFT} {at:.1}H{right}' class=grid /><text x={:.1} y={:.1} \
                 text-anchor=end>{text}</text>",
                LEFT - 6.0,
                at + 4.0
            ));
        }
        svg.add(format_args!(
            "<text x={right} y={:.1} text-anchor=end>{}</text>\
             <text x=14 y={:.1} text-anchor=middle transform='rotate(-90 14 {2:.1})'>{}</text>",
            HEIGHT - 8.0,
            self.x.name,
            (TOP + bottom) / 2.0,
            self.y.name,
        ));
    }
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>, paper: (f64, f64)) -> Self {
        let is_log = axis.is_log;
        let (low, high) = values
            .filter(|value| value.is_finite() && (!is_log || *value > 0.0))
            .fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let high = if high > 0.0 { high } else { 1.0 };
        // A decade at least, or one value would be everywhere at once.
        let low = if is_log { low.min(high / 10.0) } else { 0.0 };
        Self { is_log, values: (low, high), paper }
    }

    fn at(self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = match self.is_log {
            true => (value.max(low) / low).ln() / (high / low).ln(),
            false => (value - low) / (high - low),
        };
        self.paper.0 + share * (self.paper.1 - self.paper.0)
    }

    /// Round values within the axis: 1, 2 and 5 times powers of ten.
    fn ticks(self) -> Vec<f64> {
        let (low, high) = self.values;
        let is_within = |value: &f64| (low..=high * (1.0 + 1e-9)).contains(value);
        if self.is_log {
            let decades = (low.log10().floor(), high.log10().ceil());
            let wide = decades.1 - decades.0 > 4.0;
            let digits: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let powers = std::iter::successors(Some(decades.0), |p| Some(p + 1.0));
            let powers = powers.take_while(|power| *power <= decades.1);
            let values = powers.flat_map(|p| digits.iter().map(move |d| d * 10_f64.powf(p)));
            return values.filter(is_within).collect();
        }
        let raw = high / TICKS;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|d| d * power).find(|s| *s >= raw);
        let step = step.unwrap_or(raw);
        let values = std::iter::successors(Some(0.0), |value| Some(value + step));
        values.take_while(is_within).collect()
    }
}

/// A drawing that grows.
struct Svg(String);

impl Svg {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes everything");
    }

    fn line(&mut self, line: &Line, number: u16, x: Scale, y: Scale) {
        let colour = COLOURS[line.colour % COLOURS.len()];
        let dashes = if line.is_dashed { " stroke-dasharray='6 4'" } else { "" };
        let point = |(px, py): &(f64, f64)| format!("{:.1},{:.1}", x.at(*px), y.at(*py));
        let points: Vec<String> = line.points.iter().map(point).collect();
        self.add(format_args!(
            "<polyline points='{}' fill=none stroke={colour} stroke-width=2{dashes} />",
            points.join(" ")
        ));
        for (px, py) in line.points.iter().filter(|_| line.has_marks) {
            self.add(format_args!(
                "<circle cx={:.1} cy={:.1} r=3 fill={colour} />",
                x.at(*px),
                y.at(*py)
            ));
        }
        let (from, at) = (WIDTH - RIGHT + 12.0, TOP + 10.0 + 17.0 * f64::from(number));
        self.add(format_args!(
            "<path d='M{from} {at}h22' stroke={colour} stroke-width=2{dashes} />\
             <text x={} y={}>{}</text>",
            from + 28.0,
            at + 4.0,
            escape(&line.name)
        ));
    }
}

/// Text between tags or in quotes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A tick's value: two or three digits, and no more.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(is_log: bool, values: &[f64]) -> Scale {
        Scale::new(Axis { name: "x", is_log }, values.iter().copied(), (0.0, 100.0))
    }

    #[test]
    fn ticks_are_round_and_within() {
        let shown = |is_log, values: &[f64]| -> String {
            scale(is_log, values).ticks().iter().map(|v| number(*v) + " ").collect()
        };
        assert_eq!(shown(false, &[3.0, 97.0]), "0 20 40 60 80 ");
        assert_eq!(shown(false, &[0.5]), "0 0.1 0.2 0.3 0.4 0.5 ");
        assert_eq!(shown(true, &[3.0, 300.0]), "5 10 20 50 100 200 ");
        assert_eq!(shown(true, &[1.0, 1e6]), "1 10 100 1000 10000 100000 1000000 ");
        assert_eq!(shown(true, &[7.0]), "1 2 5 ");
        assert_eq!(shown(false, &[0.0]), "0 0.2 0.4 0.6 0.8 1 ");
    }

    #[test]
    fn values_are_where_they_belong() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, not {b}");
        close(scale(false, &[10.0]).at(5.0), 50.0);
        close(scale(true, &[1.0, 100.0]).at(10.0), 50.0);
        close(scale(true, &[1.0, 100.0]).at(0.0), 0.0);
    }

    #[test]
    fn names_cannot_leave_their_place_and_nothing_is_not_drawn() {
        let axis = Axis { name: "x", is_log: false };
        let line = Line {
            name: "<b> & 'c'".to_owned(),
            colour: 9,
            is_dashed: true,
            has_marks: true,
            points: vec![(1.0, 2.0)],
        };
        let mut plot = Plot { title: "t", x: axis, y: axis, limit: Some(3.0), lines: vec![line] };
        let svg = plot.svg();
        assert!(svg.contains("&lt;b&gt; &amp; &#39;c&#39;") && !svg.contains("<b>"), "{svg}");
        // The y axis' name stands upright beside the middle of the axis.
        assert!(svg.contains("rotate(-90 14 154.0)"), "{svg}");
        assert!(svg.contains("class=limit") && svg.contains("<circle"), "{svg}");
        plot.lines[0].points.clear();
        assert_eq!(plot.svg(), "");
    }
}
