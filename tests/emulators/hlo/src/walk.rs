//! Elements of a value in another order than they lie.
//!
//! Next: `movement.rs`.

/// Elements of some dimensions, in row-major order, each with what to add for one step.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) dims: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

impl Walk {
    /// Some dimensions of a value that has such strides.
    pub(crate) fn of(dims: &[usize], strides: &[usize], which: &[usize]) -> Self {
        let pick = |list: &[usize]| which.iter().map(|dim| list[*dim]).collect();
        Self { dims: pick(dims), strides: pick(strides) }
    }

    pub(crate) fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Calls with the place of each element, in order.
    pub(crate) fn each(&self, mut visit: impl FnMut(usize)) {
        self.runs(|start, count, stride| {
            for i in 0..count {
                visit(start + i * stride);
            }
        });
    }

    /// Calls with each run of elements along the last dimension: where it begins, how many there are
    /// and what lies between.
    pub(crate) fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        if self.elements() == 0 {
            return;
        }
        let Some((count, outer)) = self.dims.split_last() else { return visit(0, 1, 1) };
        let stride = self.strides[outer.len()];
        let (mut index, mut start) = (vec![0; outer.len()], 0);
        loop {
            visit(start, *count, stride);
            let mut dim = outer.len();
            loop {
                let Some(next) = dim.checked_sub(1) else { return };
                dim = next;
                index[dim] += 1;
                start += self.strides[dim];
                if index[dim] < outer[dim] {
                    break;
                }
                start -= self.strides[dim] * outer[dim];
                index[dim] = 0;
            }
        }
    }

    /// Places of all elements, in order.
    pub(crate) fn places(&self) -> Vec<usize> {
        let mut places = Vec::with_capacity(self.elements());
        self.each(|at| places.push(at));
        places
    }

    /// The elements, in order.
    pub(crate) fn collect<T: Copy>(&self, from: &[T], first: usize) -> Vec<T> {
        let mut made = Vec::with_capacity(self.elements());
        self.runs(|start, count, stride| {
            let start = first + start;
            match stride {
                0 => made.resize(made.len() + count, from[start]),
                1 => made.extend_from_slice(&from[start..start + count]),
                _ => made.extend((0..count).map(|i| from[start + i * stride])),
            }
        });
        made
    }

    /// The same elements with fewer dimensions, where neighbouring ones are one.
    pub(crate) fn merged(&self) -> Self {
        let mut made = Self { dims: Vec::new(), strides: Vec::new() };
        for (dim, stride) in self.dims.iter().zip(&self.strides) {
            if *dim == 1 {
                continue;
            }
            match (made.dims.last_mut(), made.strides.last_mut()) {
                (Some(last), Some(step)) if *step == dim * stride => {
                    *last *= dim;
                    *step = *stride;
                }
                _ => {
                    made.dims.push(*dim);
                    made.strides.push(*stride);
                }
            }
        }
        made
    }

    /// The one step between elements, where there is one.
    pub(crate) fn step(&self) -> Option<usize> {
        let merged = self.merged();
        match merged.strides.as_slice() {
            [] => Some(1),
            [step] => Some(*step),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_in_the_order_of_dimensions() {
        // `[2, 3]` seen as `[3, 2]`.
        let turned = Walk { dims: vec![3, 2], strides: vec![1, 3] };
        assert_eq!(turned.collect(&[1, 2, 3, 4, 5, 6], 0), [1, 4, 2, 5, 3, 6]);
        assert_eq!(turned.step(), None);
        let scalar = Walk { dims: vec![], strides: vec![] };
        assert_eq!(scalar.collect(&[7, 8], 1), [8]);
        let repeated = Walk { dims: vec![2, 2], strides: vec![0, 1] };
        assert_eq!(repeated.places(), [0, 1, 0, 1]);
        let none = Walk { dims: vec![2, 0], strides: vec![0, 1] };
        assert!(none.places().is_empty());
        let whole = Walk { dims: vec![2, 1, 3], strides: vec![3, 9, 1] };
        assert_eq!(whole.step(), Some(1));
    }
}
