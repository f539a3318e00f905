process BORZOIRT_SCORE {
    tag "$meta.id"
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(vcf)
    tuple val(meta2), path(fasta), path(fai)
    tuple val(meta3), path(bundle)
    val shard // 'I/N', or '' for the whole run

    output:
    tuple val(meta), path("${prefix}.${suffix}"), emit: table, optional: true
    tuple val(meta), path("${prefix}.${suffix}.shard-*-of-*"), emit: shard, optional: true
    tuple val("${task.process}"), val('borzoi-rt'), eval("borzoi-rt --version | sed 's/.* //'"), topic: versions, emit: versions_borzoirt

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def share = shard ? "--shard ${shard}" : ''
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = task.ext.suffix ?: 'tsv'
    """
    borzoi-rt score ${vcf} \\
        --bundle ${bundle} \\
        --fasta ${fasta} \\
        --out ${prefix}.${suffix} \\
        --threads ${task.cpus} \\
        ${share} \\
        ${args}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    suffix = task.ext.suffix ?: 'tsv'
    def folder = shard ? "${prefix}.${suffix}.shard-${shard.replace('/', '-of-')}" : ''
    """
    if [ -n "${folder}" ]; then
        mkdir "${folder}"
    else
        touch ${prefix}.${suffix}
    fi
    """
}
