//! The dashboard in a real browser, over the real binary.
//!
//! Status, headers and what `/status` holds: `appliance/http/tests/edge/dashboard.rs`.

use std::path::PathBuf;
use std::time::Duration;

use gimbal_conformance::browser::{Browser, Page, View};
use gimbal_conformance::crowd;
use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path};
use serde_json::{Value, json};

/// Longest time for a figure to appear; on a loaded machine a first token may take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const DESK: View = View { width: 1280, height: 900, is_dark: false };

/// Model and library, or nothing where `cargo xtask test` did not set them.
fn setup() -> Option<(PathBuf, String)> {
    binary_path()?;
    Some((model_path()?, library_path()?.to_str()?.to_owned()))
}

/// Texts of all elements that a selector finds.
fn texts(browser: &mut Browser, page: &Page, selector: &str) -> anyhow::Result<Vec<String>> {
    let all = format!("[...document.querySelectorAll({selector:?})].map((e) => e.textContent)");
    Ok(serde_json::from_value(browser.evaluate(page, &all)?)?)
}

fn check_figures(browser: &mut Browser, page: &Page) -> anyhow::Result<()> {
    let filled =
        "[...document.querySelectorAll('.tile')].every((t) => t.dataset.filled === 'true')";
    browser.wait(page, filled, PATIENCE)?;
    // Two run and more than two ask: the others wait.
    for tile in ["running", "queue"] {
        let busy = format!("parseInt(document.querySelector('#{tile} dd').textContent, 10) > 0");
        browser.wait(page, &busy, PATIENCE)?;
    }
    browser.wait(page, "document.querySelector('#refusals td.why') !== null", PATIENCE)?;
    for selector in
        [".facts dd", ".tile dd", ".tile .top", "#kv-legend dd", "#boot-legend dd", "#events dd"]
    {
        // Waited for: a page that missed a poll shows no rates until the next.
        let told = format!(
            "((all) => all.length >= 3 && all.every((t) => t.trim() !== '' && !t.includes('–')))
            ([...document.querySelectorAll({selector:?})].map((e) => e.textContent))"
        );
        browser.wait(page, &told, PATIENCE)?;
    }
    assert_eq!(texts(browser, page, "#health")?, ["Serving"]);
    let phases = texts(browser, page, "#boot-legend dt")?;
    assert_eq!(phases, ["Listen", "Probe, plan", "Open", "Warm up"]);
    let statuses = texts(browser, page, "#responses dt")?;
    assert!(statuses.contains(&"200".to_owned()), "{statuses:?}");
    assert!(statuses.contains(&"400".to_owned()), "{statuses:?}");
    let why = texts(browser, page, "#refusals td.why")?;
    assert!(why.iter().any(|w| w.contains("context_length_exceeded")), "{why:?}");
    let lines = "document.querySelectorAll('.tile .line.a[d^=M]').length";
    assert_eq!(browser.evaluate(page, lines)?, 8, "every chart has a line");
    Ok(())
}

/// Nothing is cut off or wider than the window, from a telephone to a wide screen, light and dark.
fn check_sizes(browser: &mut Browser, page: &Page) -> anyhow::Result<()> {
    for (width, is_dark) in [(400, false), (700, true), (1080, false), (1280, true), (1600, false)]
    {
        browser.look(page, View { width, height: 900, is_dark })?;
        let wide = browser.evaluate(page, "document.documentElement.scrollWidth")?;
        assert_eq!(wide, width, "nothing to scroll sideways");
        let cut = "[...document.querySelectorAll('.card dd, .card dt, .card h2, .aside')]
            .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
            .map((e) => e.textContent)";
        assert_eq!(browser.evaluate(page, cut)?, json!([]), "at {width}");
    }
    browser.look(page, DESK)
}

/// What has a role to a reader of the screen has a name.
fn check_names(browser: &mut Browser, page: &Page) -> anyhow::Result<()> {
    let nameless = "[...document.querySelectorAll('[role=img], section, [role=region]')]
        .filter((e) => !e.ariaLabel && !document.getElementById(e.getAttribute('aria-labelledby')))
        .map((e) => e.outerHTML.slice(0, 80))";
    assert_eq!(browser.evaluate(page, nameless)?, json!([]));
    assert_eq!(browser.evaluate(page, "document.querySelectorAll('h1').length")?, 1);
    Ok(())
}

/// A name is a text whatever it says, and what a device does not tell is a dash.
fn check_devices(browser: &mut Browser, page: &Page) -> anyhow::Result<()> {
    assert_eq!(texts(browser, page, "#devices td")?, ["Not asked yet."]);
    let device = "showDevices([{
        device: '<b>x</b>', load_ratio: 0.004, memory_bytes: 4294967296,
        memory_used_bytes: 1610612736, temperature_celsius: null, errors: 2,
    }])";
    browser.evaluate(page, device)?;
    let expect = ["<b>x</b>", "<1 %", "1.5 GiB of 4 GiB", "–", "2"];
    assert_eq!(texts(browser, page, "#devices tbody td")?, expect);
    Ok(())
}

#[test]
fn a_busy_server_shows_its_figures_and_one_that_is_gone_says_so() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    let small = ["--max-rolling-batch-size", "2", "--max-model-len", "1024"];
    let server = Server::start(&model, &[&["--onnxruntime", &library], &small[..]].concat())?;
    let url = format!("http://{}/", server.address);
    let page = crowd::beside(server.address, 6, || {
        let page = browser.open(&url, DESK)?;
        check_figures(&mut browser, &page)?;
        check_sizes(&mut browser, &page)?;
        check_names(&mut browser, &page)?;
        Ok(page)
    })?;
    // Another page hides this one.
    browser.open("about:blank", DESK)?;
    browser.wait(&page, "document.body.dataset.link === 'paused'", PATIENCE)?;
    browser.bring_to_front(&page)?;
    browser.wait(&page, "document.body.dataset.link === 'live'", PATIENCE)?;
    assert_eq!(browser.complaints(), Vec::<String>::new(), "the console is silent");

    drop(server);
    browser.wait(&page, "document.body.dataset.link === 'gone'", PATIENCE)?;
    let seen = texts(&mut browser, &page, "#seen")?.concat();
    assert!(seen.starts_with("last seen ") && seen.ends_with(" ago"), "{seen}");
    assert_eq!(texts(&mut browser, &page, "#health")?, ["No answer"]);
    let notice = "document.getElementById('notice').checkVisibility()";
    assert_eq!(browser.evaluate(&page, notice)?, true);
    // Figures stay as they were.
    assert!(!texts(&mut browser, &page, ".tile dd")?.contains(&"–".to_owned()));
    Ok(())
}

/// Where there are keys, the page asks for one and works with it.
#[test]
fn a_locked_dashboard_asks_for_a_key() -> anyhow::Result<()> {
    let Some((model, _)) = setup() else { return Ok(()) };
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    let server = Server::start(&model, &["--backend", "sim", "--api-key", "cheese"])?;
    let page = browser.open(&format!("http://{}/", server.address), DESK)?;
    let say =
        |key: &str| format!("form.elements.key.value = {key:?}; form.requestSubmit(); form.hidden");
    let asks = "!form.hidden && document.getElementById('health').textContent === 'Locked'";
    browser.wait(&page, asks, PATIENCE)?;
    assert_eq!(texts(&mut browser, &page, "#notice")?, ["The server asks for an API key."]);
    browser.evaluate(&page, &say("chees"))?;
    let told = "document.getElementById('notice').textContent.includes('does not know')";
    browser.wait(&page, told, PATIENCE)?;
    assert_eq!(browser.evaluate(&page, &say("cheese"))?, json!(true));
    browser.wait(&page, "document.body.dataset.link === 'live'", PATIENCE)?;
    assert_eq!(browser.evaluate(&page, "document.getElementById('key-form').hidden")?, json!(true));
    Ok(())
}

/// The scripts' own arithmetic, and what they make of a server that loads: asked in the page.
#[test]
fn figures_are_what_the_exposition_says() -> anyhow::Result<()> {
    let Some((model, _)) = setup() else { return Ok(()) };
    let Some(mut browser) = Browser::start()? else { return Ok(()) };
    let server = Server::start(&model, &["--backend", "sim"])?;
    let page = browser.open(&format!("http://{}/", server.address), DESK)?;
    browser.wait(&page, "document.body.dataset.link === 'live'", PATIENCE)?;
    let histogram = |counts: [u32; 3]| {
        format!("new Map([[1, {}], [2, {}], [Infinity, {}]])", counts[0], counts[1], counts[2])
    };
    let quantile = |before, after, q: f64| {
        format!("quantile({}, {}, {q})", histogram(before), histogram(after))
    };
    let text =
        r#"'gimbal_x{a="1",b="q\\"}"} 2\ngimbal_x{a="2",b="c"} 3e1\n# gimbal_x 9\nother 1\n'"#;
    let sum = |labels: &str| format!("total(parseMetrics({text}), 'gimbal_x', {labels})");
    let health = |health: &str| format!("healthOf({health})[0]");
    let cases: [(String, Value); 17] = [
        (quantile([0, 0, 0], [50, 100, 100], 0.5), json!(1.0)),
        (quantile([0, 0, 0], [50, 100, 100], 0.75), json!(1.5)),
        (quantile([0, 0, 0], [0, 0, 10], 0.5), json!(2.0)),
        (quantile([10, 10, 10], [10, 30, 30], 0.5), json!(1.5)),
        (quantile([5, 5, 5], [5, 5, 5], 0.5), Value::Null),
        (sum("{}"), json!(32.0)),
        (sum("{a: '2'}"), json!(30.0)),
        (sum("{a: '3'}"), Value::Null),
        ("duration(0.0123).join(' ')".to_owned(), json!("12.3 ms")),
        ("duration(0.0000071).join(' ')".to_owned(), json!("7.1 µs")),
        ("longTime(3 * 3600 + 12 * 60 + 5)".to_owned(), json!("3 h 12 min")),
        ("percent(0.001)".to_owned(), json!("<1 %")),
        ("number(12345.6)".to_owned(), json!("12,346")),
        ("ceiling([61], 10)".to_owned(), json!(80.0)),
        (health("{state: 'loading', phase: 'open', progress: 0.5}"), json!("Loading: open")),
        (health("{state: 'failing', reason: 'why'}"), json!("Failing")),
        (health("{state: 'draining'}"), json!("Draining")),
    ];
    for (expression, expect) in cases {
        let found = browser.evaluate(&page, &expression)?;
        let equal = found == expect || found.as_f64().is_some_and(|n| Some(n) == expect.as_f64());
        assert!(equal, "{expression}: {found}, not {expect}");
    }
    let loading = "(() => {
        const health = { state: 'loading', phase: 'open', progress: null };
        const phases = [{ phase: 'listen', ms: 1 }, { phase: 'open', ms: 2 }];
        const boot = { phases, ready_ms: null };
        clearTimeout(timer);
        const none = { models: [], devices: [], refusals: [] };
        showStatus({ health, boot, ...none, now_unix_ms: 0, started_unix_ms: 0 });
        const textOf = (id) => document.getElementById(id).textContent;
        return [textOf('notice'), textOf('boot-aside')].join(' ');
    })()";
    let told = browser.evaluate(&page, loading)?;
    assert_eq!(told, "The model is loading. Phase open. in progress");
    check_devices(&mut browser, &page)?;
    assert_eq!(browser.complaints(), Vec::<String>::new(), "the console is silent");
    Ok(())
}
