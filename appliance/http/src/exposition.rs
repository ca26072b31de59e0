//! `/metrics`: the Prometheus recorder, and the upkeep it needs.
//!
//! Which metrics there are stands in `gimbal_engine::meters`. Next: `router.rs`.

use std::time::Duration;

use gimbal_engine::meters::{self, BUCKETS, Kind, SIZE_BUCKETS};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// How often samples of histograms are folded into their buckets; without it memory grows while
/// nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// A gauge whose value is not known any more: the recorder has no way to forget it.
const UNKNOWN: &str = " NaN\n";

/// The installed recorder.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl std::fmt::Debug for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exposition")
    }
}

impl Exposition {
    /// Installs the process's recorder. Once, before the first service starts.
    ///
    /// # Errors
    /// Another recorder is installed.
    pub fn install() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new().set_buckets(BUCKETS)?;
        for sizes in meters::TABLE.iter().filter(|meter| meter.kind == Kind::Sizes) {
            let name = Matcher::Full(sizes.name.to_owned());
            builder = builder.set_buckets_for_metric(name, SIZE_BUCKETS)?;
        }
        let handle = builder.install_recorder()?;
        meters::describe();
        Ok(Self(handle))
    }

    pub(crate) fn render(&self) -> String {
        without_unknown(self.0.render())
    }

    /// Runs until dropped.
    pub(crate) async fn keep_up(&self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}

/// The exposition without gauges that are not known any more.
fn without_unknown(text: String) -> String {
    if !text.contains(UNKNOWN) {
        return text;
    }
    text.split_inclusive('\n').filter(|line| !line.ends_with(UNKNOWN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_any_more_is_left_out() {
        let text = "# TYPE a gauge\na{b=\"1 NaN\"} 1\na{b=\"2\"} NaN\na{b=\"3\"} 0.5\n";
        let expect = "# TYPE a gauge\na{b=\"1 NaN\"} 1\na{b=\"3\"} 0.5\n";
        assert_eq!(without_unknown(text.to_owned()), expect);
        assert_eq!(without_unknown(expect.to_owned()), expect);
    }
}
