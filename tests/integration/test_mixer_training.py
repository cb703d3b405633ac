"""Resume the training of mixers other than softmax, and split it over two processes."""

import pytest
import small_task as st
from torch.testing import assert_close

MIXERS = {
    "dynamic": 'kind = "dynamic", block = 4, top = 1',
    "hierarchical": 'kind = "hierarchical", window = 4, pool = 4',
}


def changes(kind, dropout):
    return (
        f"model = {{ dropout = {dropout}, attention_dropout = {dropout} }}\n"
        "training = { max_steps = 8, evaluate_every = 4, checkpoint_every = 4 }\n"
    ), f'model.position.kind = "none"\nmodel.mixer = {{ {MIXERS[kind]} }}'


@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_training_resumes_bit_for_bit(tmp_path, kind):
    st.write_task(tmp_path, "")
    run_file = st.small_run(*changes(kind, 0.1))
    whole = st.fit(tmp_path, run_file, "whole")
    with st.stopped(3):
        st.fit(tmp_path, run_file, "again")
    st.assert_same_weights(whole, st.fit(tmp_path, run_file, "again"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_gradients_equal_on_two_processes(tmp_path, kind):
    st.write_task(tmp_path, st.small(*changes(kind, 0.0)))
    expected = st.gradients_of(tmp_path)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    assert_close(st.gradients_of(tmp_path, processes=2), expected, rtol=1e-4, atol=1e-6)
