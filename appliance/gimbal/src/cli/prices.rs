//! `--prices FILE`: what an hour of each instance type costs, by the person who compares them.
//!
//! No price is known to Gimbal: they differ by region, contract and day. Next: `compare.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use super::layers;
use crate::boot::Roofline;
use crate::failure::Failure;

/// Bytes of a file at most.
const BYTES_MAX: u64 = 1 << 20;
/// Seconds of what is paid for.
const HOUR: f64 = 3600.0;

/// Prices of an hour, by type without `ml.`, in whatever currency the file is in.
#[derive(Debug, Default)]
pub(super) struct Prices(BTreeMap<String, f64>);

impl Prices {
    /// Reads a file of lines such as `g6.xlarge: 0.80`.
    ///
    /// # Errors
    /// It cannot be read, is no such list, or names a type that is not in the catalogue.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let bytes = path.metadata().map_err(|e| Failure::no_input(format!("{shown}: {e}")))?.len();
        if bytes > BYTES_MAX {
            return Err(Failure::usage(format!(
                "{shown}: {bytes} bytes of prices, not {BYTES_MAX}"
            )));
        }
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| Failure::no_input(format!("{shown}: {e}")))?;
        let read: BTreeMap<String, f64> = serde_yaml::from_str(&text).map_err(|error| {
            Failure::usage(format!("{shown}: {error}; a line is TYPE: PRICE OF AN HOUR"))
        })?;
        let mut prices = BTreeMap::new();
        for (name, price) in read {
            let instance = layers::known_instance("--prices", &name)?;
            if !price.is_finite() || price <= 0.0 {
                return Err(Failure::usage(format!(
                    "{shown}: {name}: {price} is no price of an hour"
                )));
            }
            prices.insert(instance.name.clone(), price);
        }
        Ok(Self(prices))
    }

    /// What a million tokens cost at least on a type, where its price and its bound are known: all copies at
    /// the roofline, and nothing idle.
    pub(super) fn of_million(&self, name: &str, roofline: &Roofline) -> Option<f64> {
        let tokens = roofline.all * roofline.copies as f64 * HOUR;
        self.0.get(name).map(|price| price / tokens * 1e6)
    }
}
