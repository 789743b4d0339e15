from rayloop.serve import edge


def test_public_names_exist_and_are_sorted():
    assert [name for name in edge.__all__ if not hasattr(edge, name)] == []
    assert sorted(edge.__all__) == sorted(set(edge.__all__))
