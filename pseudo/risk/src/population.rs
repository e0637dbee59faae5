//! How many people of a *population* are unique, when the table is a random sample of it: estimates from class sizes.
//!
//! - Zayatz (1991): the chance that a class of one in the sample is a class of one in the population, by turning the
//!   sample's class sizes around with the hypergeometric distribution. Good for large samples.
//! - Pitman (Hoshino 2001): a two-parameter model of class sizes, fitted by maximum likelihood. Good for small samples.
//! - The rule of Dankar, El Emam and others (2012) takes Pitman up to a sampling fraction of 10 % and the smaller of Zayatz
//!   and a third model (SNB) above. That third model is not here, so above 10 % the answer is Zayatz's, which can only be
//!   higher: on the safe side.

use crate::identity::ClassSizes;

/// Which model an estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The sample is the population, or has no record that is alone: nothing to estimate.
    Counted,
    /// Zayatz.
    Zayatz,
    /// Pitman.
    Pitman,
}

/// Estimated share of the population that is unique.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PopulationUniqueness {
    /// Share of the population's people that are alone in their class.
    pub share: f64,
    /// The model.
    pub model: Model,
}

/// Up to this sampling fraction the rule takes Pitman.
const PITMAN_FRACTION_MAX: f64 = 0.1;
/// Steps of Newton's method, at most: it converges in a handful or not at all.
const STEPS_MAX: usize = 100;
/// A fit is done when a step changes neither parameter by more than this part of it.
const STEP_SHARE_MIN: f64 = 1e-12;

/// The estimate by the rule; `None` when the population is smaller than the sample, or there is no sample.
pub fn uniqueness(sizes: &ClassSizes, population: u64) -> Option<PopulationUniqueness> {
    let records = sizes.records();
    if records == 0 || population < records {
        return None;
    }
    if population == records || sizes.classes_of(1) == 0 {
        let share = sizes.classes_of(1) as f64 / records as f64;
        return Some(PopulationUniqueness { share, model: Model::Counted });
    }
    let fraction = records as f64 / population as f64;
    if fraction <= PITMAN_FRACTION_MAX
        && let Some(share) = pitman(sizes, population)
    {
        return Some(PopulationUniqueness { share, model: Model::Pitman });
    }
    Some(PopulationUniqueness { share: zayatz(sizes, population), model: Model::Zayatz })
}

/// Zayatz's estimate of the share.
pub fn zayatz(sizes: &ClassSizes, population: u64) -> f64 {
    let (records, classes, ones) = (sizes.records(), sizes.classes() as f64, sizes.classes_of(1) as f64);
    let fraction = records as f64 / population as f64;
    let one_of = |size: u64| chance_of_one(population, size, records);
    let seen: f64 = sizes.iter().map(|(size, count)| count as f64 / classes * one_of(size)).sum();
    let conditional = ones / classes * one_of(1) / seen;
    ones * conditional / fraction / population as f64
}

/// The chance that a sample of `records` out of `population` takes exactly one of `size` people.
fn chance_of_one(population: u64, size: u64, records: u64) -> f64 {
    // the others come from those outside the class; when there are too few of them the chance is none
    if records - 1 > population - size {
        return 0.0;
    }
    let choose =
        |whole: u64, part: u64| ln_factorial(whole) - ln_factorial(part) - ln_factorial(whole - part);
    let chance = (size as f64).ln() + choose(population - size, records - 1) - choose(population, records);
    chance.exp()
}

/// Pitman's estimate of the share; `None` when the likelihood has no maximum that can be found.
pub fn pitman(sizes: &ClassSizes, population: u64) -> Option<f64> {
    let (theta, alpha) = fit(sizes)?;
    let population = population as f64;
    let expected = if alpha.abs() < f64::EPSILON {
        theta * population / (theta + population - 1.0)
    } else {
        // Gamma(theta + 1) / Gamma(theta + alpha) * population^alpha
        (ln_gamma(theta + 1.0) - ln_gamma(theta + alpha) + alpha * population.ln()).exp()
    };
    let share = expected / population;
    (share.is_finite() && (0.0..=1.0).contains(&share)).then_some(share)
}

/// Theta and alpha of largest likelihood, by Newton's method from a moment estimate.
fn fit(sizes: &ClassSizes) -> Option<(f64, f64)> {
    let (records, classes) = (sizes.records() as f64, sizes.classes() as f64);
    let (ones, twos) = (sizes.classes_of(1) as f64, sizes.classes_of(2).max(1) as f64);
    let ratio = ones * (ones - 1.0) / twos;
    let mut theta = (records * classes * ratio - ones * (records - 1.0) * (2.0 * classes + ratio))
        / (2.0 * ones * classes + ones * ratio - records * ratio);
    let mut alpha = (theta * (ones - records) + (records - 1.0) * ones) / (records * classes);
    for _ in 0..STEPS_MAX {
        if !(theta.is_finite() && theta >= 0.0 && alpha > 0.0 && alpha < 1.0) {
            return None;
        }
        let slope = slope(sizes, theta, alpha);
        let determinant = slope.theta_theta * slope.alpha_alpha - slope.theta_alpha * slope.theta_alpha;
        let theta_step = (slope.theta * slope.alpha_alpha - slope.alpha * slope.theta_alpha) / determinant;
        let alpha_step = (slope.alpha * slope.theta_theta - slope.theta * slope.theta_alpha) / determinant;
        (theta, alpha) = (theta - theta_step, alpha - alpha_step);
        if theta_step.abs() <= STEP_SHARE_MIN * theta.abs()
            && alpha_step.abs() <= STEP_SHARE_MIN * alpha.abs()
        {
            return (theta >= 0.0 && alpha > 0.0 && alpha < 1.0).then_some((theta, alpha));
        }
    }
    None
}

/// First and second derivatives of the logarithm of the likelihood.
struct Slope {
    theta: f64,
    alpha: f64,
    theta_theta: f64,
    theta_alpha: f64,
    alpha_alpha: f64,
}

/// The likelihood of class sizes n_1 to n_u is, but for a constant,
/// prod_(i=1..u-1) (theta + i alpha) / prod_(i=1..n-1) (theta + i) * prod_j prod_(i=1..n_j-1) (i - alpha).
/// Its sums are differences of digamma and trigamma functions.
fn slope(sizes: &ClassSizes, theta: f64, alpha: f64) -> Slope {
    let (records, classes) = (sizes.records() as f64, sizes.classes() as f64);
    let ratio = theta / alpha;
    // sums over i from 1 to u - 1 of 1 / (theta + i alpha) and of its square
    let first = (digamma(ratio + classes) - digamma(ratio + 1.0)) / alpha;
    let second = (trigamma(ratio + 1.0) - trigamma(ratio + classes)) / (alpha * alpha);
    let mut slope = Slope {
        theta: first - (digamma(theta + records) - digamma(theta + 1.0)),
        alpha: ((classes - 1.0) - theta * first) / alpha,
        theta_theta: -second + (trigamma(theta + 1.0) - trigamma(theta + records)),
        theta_alpha: -(first - theta * second) / alpha,
        alpha_alpha: -((classes - 1.0) - 2.0 * theta * first + theta * theta * second) / (alpha * alpha),
    };
    let (digamma_one, trigamma_one) = (digamma(1.0 - alpha), trigamma(1.0 - alpha));
    for (size, count) in sizes.iter().filter(|(size, _)| *size > 1) {
        let (size, count) = (size as f64, count as f64);
        slope.alpha -= count * (digamma(size - alpha) - digamma_one);
        slope.alpha_alpha -= count * (trigamma_one - trigamma(size - alpha));
    }
    slope
}

fn ln_factorial(number: u64) -> f64 {
    ln_gamma(number as f64 + 1.0)
}

/// From here on the asymptotic series below are exact to the last digits of a double.
const ASYMPTOTIC_FROM: f64 = 12.0;

/// Logarithm of the gamma function of a positive number: recurrence up, then Stirling's series.
fn ln_gamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < ASYMPTOTIC_FROM {
        below += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - below
}

/// Its derivative.
fn digamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < ASYMPTOTIC_FROM {
        below += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = square
        * (1.0 / 12.0
            - square * (1.0 / 120.0 - square * (1.0 / 252.0 - square * (1.0 / 240.0 - square / 132.0))));
    x.ln() - 0.5 / x - series - below
}

/// Its second derivative.
fn trigamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < ASYMPTOTIC_FROM {
        below += 1.0 / (x * x);
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = square
        * (1.0 / 6.0
            - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square * (1.0 / 30.0 - square * 5.0 / 66.0))));
    inverse + square / 2.0 + inverse * series + below
}

#[cfg(test)]
#[path = "population/tests.rs"]
mod tests;
