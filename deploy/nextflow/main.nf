// A VCF scored in shards and merged:
// nextflow run deploy/nextflow --vcf in.vcf --fasta genome.fa --bundle BUNDLE --shards 16 [--outdir results]
include { BORZOIRT_SCORE } from './modules/borzoirt/score/main'
include { BORZOIRT_MERGE } from './modules/borzoirt/merge/main'

params.vcf = null
params.fasta = null
params.bundle = null
params.shards = 2

workflow {
    main:
    def vcf = file(params.vcf, checkIfExists: true)
    def genome = [[id: 'genome'], file(params.fasta, checkIfExists: true), files("${params.fasta}.{fai,gzi}")]
    def model = [[id: 'model'], file(params.bundle, checkIfExists: true)]
    def count = params.shards as int
    def shares = channel.fromList((1..count).collect { number -> "${number}/${count}" })

    BORZOIRT_SCORE(shares.map { _share -> [[id: vcf.simpleName], vcf] }, genome, model, shares)
    def made = BORZOIRT_SCORE.out.shard.groupTuple(size: count).map { meta, shards -> [meta, shards, vcf] }
    BORZOIRT_MERGE(made, genome, model)

    publish:
    tables = BORZOIRT_MERGE.out.table
}

output {
    tables {
    }
}
