"""The custom resource definitions, generated from the models of `flowcraft_api`.

`python -m flowcraft_operator.crdgen` writes them (into `crds/` and, as templates, into the chart); with
`--check` it only says whether what is there is what would be written. What a structural schema cannot say
is refused here, with the path of the field, rather than by an API server later.
"""
