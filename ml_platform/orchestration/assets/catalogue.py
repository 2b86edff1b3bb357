"""The catalogue page of a use case, beside its graph."""

from dagster import AssetsDefinition, MaterializeResult, MetadataValue, asset

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration import metadata
from ml_platform.orchestration.keys import model_key, owners, view_key
from ml_platform.orchestration.resources import PlatformResource


def catalogue_asset(use_case: UseCase) -> AssetsDefinition:
    """The use case's page of the catalogue, written anew whenever it is materialised."""

    @asset(
        key=view_key(use_case, "catalogue"),
        group_name=use_case.name,
        owners=owners(use_case),
        kinds={"markdown"},
        metadata=metadata.readme(use_case),
        # A refused model serves nothing, and the page is written all the same: after all else that can run.
        deps=[model_key(Target(use_case, m), "evaluation") for m in use_case.config.models],
        op_tags={"dagster/priority": "-10"},
        description="Every feed, column, feature, dataset version, model and prediction of the use case, "
        "with type, source, owner, classification, lineage to the column and usage: see `page` in the "
        "metadata. `ml-platform catalogue --html DIR` writes all pages as a site with search.",
    )
    def catalogue(platform: PlatformResource) -> MaterializeResult[None]:
        from ml_platform.lifecycle.catalogue import entries, of_use_case
        from ml_platform.lifecycle.catalogue_pages import markdown

        found = entries(platform.get())
        return MaterializeResult(
            metadata={
                "page": MetadataValue.md(markdown(found, use_case.config)),
                "entries": len(of_use_case(found, use_case.name)),
            }
        )

    return catalogue
