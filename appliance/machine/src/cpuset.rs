//! Sets of CPU numbers as the kernel writes them: `0-3,8`.

use std::fmt;

/// Ranges of CPU numbers, both ends included; a range is not expanded, so a wrong list costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<(u32, u32)>);

impl CpuSet {
    /// Reads a list; `None` where it is empty or no list.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        };
        let ranges: Option<Vec<_>> = text.trim().split(',').map(range).collect();
        ranges.filter(|r| !r.is_empty()).map(Self)
    }

    /// CPUs in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        let sizes = self.0.iter().map(|(first, last)| (last - first).saturating_add(1));
        sizes.fold(0, u32::saturating_add)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted_and_nonsense_is_no_list() {
        let count = |text: &str| CpuSet::parse(text).map(|set| set.count());
        assert_eq!(count("0-3,8\n"), Some(5));
        assert_eq!(count("7"), Some(1));
        assert_eq!(count("0-4294967295"), Some(u32::MAX));
        assert_eq!(count("0-4294967295,0-4294967295"), Some(u32::MAX));
        for wrong in ["", "\n", "3-1", "a", "0-", "0,,1", "99999999999"] {
            assert_eq!(count(wrong), None, "{wrong:?}");
        }
        assert_eq!(CpuSet::parse("0-3,8").map(|s| s.to_string()).as_deref(), Some("0-3,8"));
    }
}
