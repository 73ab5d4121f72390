"""A test suite that holds a model's evidence against the release policy.

pytest test_release.py --pellucid-bundle bundle.json --pellucid-key owner.pub
"""


def test_the_model_may_be_released(pellucid_bundle):
    pellucid_bundle.assert_meets("policies/release.toml")


def test_the_guarantee_is_stated_for_people(pellucid_bundle):
    privacy = pellucid_bundle.values["privacy"]
    assert privacy["adjacency"] == "add-or-remove-one"
    assert privacy["epsilon"] <= 3.0
