//! Tests of what files say and mean.
