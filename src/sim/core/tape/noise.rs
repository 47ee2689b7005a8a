//! Chance as a function of time: the same seed and moment always give the same swing, and near moments near ones.
//!
//! A random walk must be walked from its beginning; this can be asked anywhere, so that the price of three years ago and
//! the price of now come from one curve without one being derived from the other. It is a sum of waves that each bend at
//! random points, from one second to half a year apart, and swing with the square root of that distance, which is how far
//! a random walk would have strayed.

/// One swing is measured in millionths.
pub(super) const ONE: i64 = 1_000_000;
/// The waves bend every 2^30 ns (1.07 s), 2^32, ... 2^54 ns (208 days).
const FIRST_SHIFT: u32 = 30;
const WAVES: usize = 13;
/// How far the wave that bends every 2^46 ns (19.5 h) swings: one percent, about a liquid share's day.
const DAY_SHIFT: u32 = 46;
const DAY_SWING: i64 = 10_000;
/// Bits of the position between two bends.
const FRACTION: u32 = 16;

/// SplitMix64's finisher over a seed, a wave and a place: chance without state.
pub(crate) fn hash(seed: u64, salt: u64, place: i64) -> u64 {
    let place = u64::from_ne_bytes(place.to_ne_bytes());
    let mut mixed =
        seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// How far a wave swings, in millionths.
const fn reach(wave: usize) -> i64 {
    let shift = FIRST_SHIFT + 2 * wave as u32;
    if shift >= DAY_SHIFT {
        DAY_SWING << ((shift - DAY_SHIFT) / 2)
    } else {
        DAY_SWING >> ((DAY_SHIFT - shift) / 2)
    }
}

/// A curve that remembers the bends it last stood between: asking along time costs little.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    seed: u64,
    /// Of each wave: the stretch, and the swing at its two ends.
    stretches: [(i64, i64, i64); WAVES],
}

impl Curve {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            stretches: [(i64::MIN, 0, 0); WAVES],
        }
    }

    /// Millionths above or below the middle; never beyond a third.
    pub(super) fn at(&mut self, nanos: i64) -> i64 {
        let mut sum = 0;
        for (wave, stretch) in self.stretches.iter_mut().enumerate() {
            let shift = FIRST_SHIFT + 2 * u32::try_from(wave).unwrap_or(0);
            let place = nanos >> shift;
            if stretch.0 != place {
                let bend = |place| bend(self.seed, wave, place);
                *stretch = (place, bend(place), bend(place.saturating_add(1)));
            }
            let fraction = (nanos >> (shift - FRACTION)) & ((1 << FRACTION) - 1);
            let (_, left, right) = *stretch;
            sum += left + (((right - left) * fraction) >> FRACTION);
        }
        sum
    }
}

/// The swing of one wave at one of its bends.
fn bend(seed: u64, wave: usize, place: i64) -> i64 {
    /// Twenty bits of chance, centred.
    const BITS: u32 = 20;
    let chance = hash(seed, wave as u64, place) >> (u64::BITS - BITS);
    let centred = i64::try_from(chance).unwrap_or(0) - (1 << (BITS - 1));
    (centred * reach(wave)) >> (BITS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_the_same_however_it_is_walked_and_has_no_jumps() {
        let mut along = Curve::new(7);
        let mut last = along.at(0);
        for step in 0..200_000_i64 {
            let nanos = step * 250_000_000;
            let here = along.at(nanos);
            assert_eq!(here, Curve::new(7).at(nanos));
            assert!(
                (here - last).abs() < 500,
                "a quarter of a second moves less than five basis points"
            );
            assert!(here.abs() < ONE / 3);
            last = here;
        }
        assert_ne!(Curve::new(8).at(1 << 40), Curve::new(7).at(1 << 40));
    }

    #[test]
    fn the_ends_of_time_are_on_the_curve() {
        for nanos in [i64::MIN, -1, 0, i64::MAX] {
            assert!(Curve::new(1).at(nanos).abs() < ONE / 3);
        }
    }
}
