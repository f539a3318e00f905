process BORZOIRT_MERGE {
    tag "$meta.id"
    label 'process_single'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(shards), path(vcf)
    tuple val(meta2), path(fasta), path(fai)
    tuple val(meta3), path(bundle)

    output:
    tuple val(meta), path("${prefix}.${suffix}"), emit: table
    tuple val("${task.process}"), val('borzoi-rt'), eval("borzoi-rt --version | sed 's/.* //'"), topic: versions, emit: versions_borzoirt

    when:
    task.ext.when == null || task.ext.when

    script:
    // Inputs are staged under the names that the shards know them by, in case that the folders of their tasks are gone.
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = task.ext.suffix ?: 'tsv'
    """
    borzoi-rt merge ${shards} \\
        --out ${prefix}.${suffix} \\
        ${args}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = task.ext.suffix ?: 'tsv'
    """
    touch ${prefix}.${suffix}
    """
}
