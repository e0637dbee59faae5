//! Population uniqueness: the special functions at known points, the slopes against sums, the estimates against those
//! that ARX publishes in its tests for the UCI Adult table with nine quasi-identifiers.

use super::*;

/// Class sizes of that table, and how many classes have each.
const ADULT: [(u64, u64); 34] = [
    (1, 15512),
    (2, 2098),
    (3, 754),
    (4, 375),
    (5, 189),
    (6, 155),
    (7, 97),
    (8, 73),
    (9, 39),
    (10, 37),
    (11, 29),
    (12, 18),
    (13, 23),
    (14, 14),
    (15, 15),
    (16, 9),
    (17, 11),
    (18, 10),
    (19, 10),
    (20, 5),
    (21, 3),
    (22, 4),
    (23, 3),
    (24, 2),
    (25, 1),
    (26, 3),
    (27, 5),
    (29, 1),
    (30, 2),
    (32, 1),
    (34, 1),
    (35, 1),
    (36, 1),
    (45, 1),
];

fn adult() -> ClassSizes {
    sizes(&ADULT)
}

fn sizes(list: &[(u64, u64)]) -> ClassSizes {
    let mut sizes = ClassSizes::default();
    for (size, count) in list {
        (0..*count).for_each(|_| sizes.add(*size));
    }
    sizes
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() <= 1e-12 * right.abs().max(1.0), "{left} is not {right}");
}

#[test]
fn gamma_and_its_derivatives_at_known_points() {
    use std::f64::consts::PI;
    close(ln_gamma(1.0), 0.0);
    close(ln_gamma(0.5), PI.sqrt().ln());
    close(ln_factorial(20), 2_432_902_008_176_640_000_f64.ln());
    close(digamma(1.0), -0.577_215_664_901_532_9);
    close(digamma(0.5), -0.577_215_664_901_532_9 - 2.0 * 2_f64.ln());
    close(trigamma(1.0), PI * PI / 6.0);
    close(trigamma(0.5), PI * PI / 2.0);
}

#[test]
fn the_slopes_are_the_sums_they_stand_for() {
    let sizes = sizes(&[(1, 7), (2, 3), (5, 2)]);
    let (theta, alpha) = (3.5, 0.4);
    let (records, classes) = (sizes.records(), sizes.classes());
    let found = slope(&sizes, theta, alpha);
    let mut expected = Slope { theta: 0.0, alpha: 0.0, theta_theta: 0.0, theta_alpha: 0.0, alpha_alpha: 0.0 };
    for index in 1..classes {
        let (index, over) = (index as f64, 1.0 / (theta + index as f64 * alpha));
        expected.theta += over;
        expected.alpha += index * over;
        expected.theta_theta -= over * over;
        expected.theta_alpha -= index * over * over;
        expected.alpha_alpha -= index * index * over * over;
    }
    for index in 1..records {
        let over = 1.0 / (theta + index as f64);
        expected.theta -= over;
        expected.theta_theta += over * over;
    }
    for (size, count) in sizes.iter() {
        for index in 1..size {
            let over = 1.0 / (index as f64 - alpha);
            expected.alpha -= count as f64 * over;
            expected.alpha_alpha -= count as f64 * over * over;
        }
    }
    close(found.theta, expected.theta);
    close(found.alpha, expected.alpha);
    close(found.theta_theta, expected.theta_theta);
    close(found.theta_alpha, expected.theta_alpha);
    close(found.alpha_alpha, expected.alpha_alpha);
}

#[test]
fn the_chance_of_one_is_hypergeometric() {
    // 10 people, 4 of them sampled, a class of 3: 3 * C(7, 3) / C(10, 4)
    close(chance_of_one(10, 3, 4), 3.0 * 35.0 / 210.0);
    close(chance_of_one(10, 1, 4), 0.4);
    close(chance_of_one(10, 8, 4), 0.0);
}

#[test]
fn the_published_estimates_for_adult() {
    let sizes = adult();
    assert_eq!((sizes.records(), sizes.classes()), (30_162, 19_502));
    let population = |fraction: f64| (30_162.0 / fraction) as u64;
    let four_digits = |share: f64| (share * 10_000.0) as u64;
    let ten = uniqueness(&sizes, population(0.1)).unwrap();
    assert_eq!((four_digits(ten.share), ten.model), (2768, Model::Pitman));
    let one = uniqueness(&sizes, population(0.01)).unwrap();
    assert_eq!((four_digits(one.share), one.model), (1446, Model::Pitman));
    assert_eq!(four_digits(zayatz(&sizes, population(0.1))), 3207);
    let twenty = uniqueness(&sizes, population(0.2)).unwrap();
    assert_eq!((four_digits(twenty.share), twenty.model), (3577, Model::Zayatz));
    let all = uniqueness(&sizes, 30_162).unwrap();
    assert_eq!((four_digits(all.share), all.model), (5142, Model::Counted));
}

#[test]
fn nothing_unique_in_the_sample_is_nothing_to_estimate() {
    let found = uniqueness(&sizes(&[(2, 5)]), 1_000).unwrap();
    assert_eq!((found.share, found.model), (0.0, Model::Counted));
}

#[test]
fn a_population_smaller_than_the_sample_has_no_estimate() {
    assert_eq!(uniqueness(&sizes(&[(1, 5)]), 4), None);
    assert_eq!(uniqueness(&ClassSizes::default(), 4), None);
}

#[test]
fn whatever_the_class_sizes_an_estimate_is_a_share() {
    for list in
        [vec![(1, 1)], vec![(1, 1_000)], vec![(1, 1), (1_000, 1)], vec![(1, 2), (2, 1)], vec![(1, 3), (7, 9)]]
    {
        let sizes = sizes(&list);
        for population in [sizes.records() + 1, sizes.records() * 3, sizes.records() * 1_000, u64::MAX / 2] {
            let share = uniqueness(&sizes, population).unwrap().share;
            assert!((0.0..=1.0).contains(&share), "{list:?} {population} {share}");
        }
    }
}
