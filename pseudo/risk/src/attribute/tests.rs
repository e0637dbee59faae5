//! Attribute figures against worked examples of the papers and against the definitions, spelled out.

use super::*;

/// Figures of classes given as lists of values.
fn figures(classes: &[&[f64]]) -> AttributeFigures {
    let mut numbers: Vec<f64> = classes.iter().flat_map(|class| class.iter().copied()).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    let code = |value: f64| numbers.iter().position(|number| *number == value).unwrap() as u32;
    let mut counts = vec![0; numbers.len()];
    let mut counted = Vec::new();
    for class in classes {
        let mut inside: Vec<ValueCount> = Vec::new();
        for value in *class {
            counts[code(*value) as usize] += 1;
            match inside.iter_mut().find(|known| known.value == code(*value)) {
                Some(known) => known.count += 1,
                None => inside.push(ValueCount { value: code(*value), count: 1 }),
            }
        }
        counted.push(inside);
    }
    let table = Distribution::new(counts).ordered_by(&numbers);
    let mut meter = AttributeMeter::new(&table);
    counted.iter().for_each(|class| meter.class(class));
    meter.figures().unwrap()
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-12, "{left} is not {right}");
}

/// Table 5 of the t-closeness paper: salaries 3k to 11k in three classes, 0.167-close with ordered distance.
#[test]
fn the_salary_example_of_the_t_closeness_paper() {
    let classes: [&[f64]; 3] = [&[3.0, 5.0, 9.0], &[6.0, 8.0, 11.0], &[4.0, 7.0, 10.0]];
    let found = figures(&classes);
    // of the three classes {4, 7, 10} is closest to the table; {3, 5, 9} and {6, 8, 11} are equally far
    close(found.t_ordered.unwrap(), 0.166_666_666_666_666_66);
    close(found.t_equal, 2.0 / 3.0);
}

/// Section 5 of the same paper: {3, 4, 5} is 0.375 from the table of nine salaries, {6, 8, 11} is 0.167.
#[test]
fn the_two_distances_that_the_t_closeness_paper_computes() {
    let found = figures(&[&[3.0, 4.0, 5.0], &[6.0, 8.0, 11.0], &[7.0, 9.0, 10.0]]);
    close(found.t_ordered.unwrap(), 0.375);
}

#[test]
fn a_class_of_one_value_has_no_diversity_and_one_of_equal_parts_has_all() {
    let homogeneous = figures(&[&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]]);
    assert_eq!((homogeneous.l_distinct, homogeneous.l_entropy, homogeneous.alpha), (1, 1.0, 1.0));
    assert_eq!(homogeneous.recursive_c, Vec::<f64>::new());
    let equal = figures(&[&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]]);
    assert_eq!((equal.l_distinct, equal.t_equal, equal.delta), (3, 0.0, 0.0));
    close(equal.l_entropy, 3.0);
    close(equal.alpha, 1.0 / 3.0);
}

#[test]
fn recursive_diversity_is_the_most_frequent_value_against_the_rest() {
    // counts 4, 3, 1 and 2, 2, 1, 1
    let found = figures(&[&[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0], &[1.0, 1.0, 2.0, 2.0, 3.0, 4.0]]);
    assert_eq!(found.l_distinct, 3);
    assert_eq!(found.recursive_c, [1.0_f64.max(2.0 / 4.0), 4.0_f64.max(2.0 / 2.0)]);
}

#[test]
fn beta_and_delta_are_relative_to_the_table() {
    // value 1 has 1/4 of the table and 1/2 of the first class; value 2 has 3/4, 1/2 and 1
    let found = figures(&[&[1.0, 2.0], &[2.0, 2.0]]);
    close(found.beta, 1.0);
    close(found.delta, 2.0_f64.ln());
    close(found.t_equal, 0.25);
}

/// The definition, rank by rank, on classes from a small generator.
#[test]
fn ordered_distance_agrees_with_its_definition() {
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..200 {
        let classes: Vec<Vec<f64>> =
            (0..1 + next(5)).map(|_| (0..1 + next(9)).map(|_| next(12) as f64 - 4.0).collect()).collect();
        let mut all: Vec<f64> = classes.concat();
        let total = all.len() as f64;
        all.sort_by(f64::total_cmp);
        let mut ranks = all.clone();
        ranks.dedup();
        let share = |values: &[f64], value: f64| values.iter().filter(|one| **one == value).count() as f64;
        let mut worst = 0.0_f64;
        for class in &classes {
            let (mut inside, mut outside, mut sum) = (0.0, 0.0, 0.0);
            for rank in &ranks[..ranks.len() - 1] {
                inside += share(class, *rank) / class.len() as f64;
                outside += share(&all, *rank) / total;
                sum += f64::abs(inside - outside);
            }
            worst = worst.max(if ranks.len() > 1 { sum / (ranks.len() - 1) as f64 } else { 0.0 });
        }
        let borrowed: Vec<&[f64]> = classes.iter().map(Vec::as_slice).collect();
        close(figures(&borrowed).t_ordered.unwrap(), worst);
    }
}

#[test]
fn values_that_are_no_numbers_have_no_order() {
    let table = Distribution::new(vec![1, 1]).ordered_by(&[1.0, f64::NAN]);
    let mut meter = AttributeMeter::new(&table);
    meter.class(&[ValueCount { value: 0, count: 1 }]);
    assert_eq!(meter.figures().unwrap().t_ordered, None);
}

#[test]
fn no_class_has_no_figures() {
    let table = Distribution::new(vec![1]);
    assert_eq!(AttributeMeter::new(&table).figures(), None);
}
