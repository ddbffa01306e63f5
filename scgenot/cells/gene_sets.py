"""Genes of dividing and of dying cells, as human symbols."""

# Tirosh et al. (2016), Science 352:189 (genes of G1/S and of G2/M), as in Scanpy's and Seurat's
# cell cycle scores. CENPU, PIMREG and JPT1 are the present names of MLF1IP, FAM64A and HN1: a data
# set has one or the other.
_PROLIFERATION = """
    MCM5 PCNA TYMS FEN1 MCM2 MCM4 RRM1 UNG GINS2 MCM6 CDCA7 DTL PRIM1 UHRF1 MLF1IP CENPU HELLS RFC2
    RPA2 NASP RAD51AP1 GMNN WDR76 SLBP CCNE2 UBR7 POLD3 MSH2 ATAD2 RAD51 RRM2 CDC45 CDC6 EXO1 TIPIN
    DSCC1 BLM CASP8AP2 USP1 CLSPN POLA1 CHAF1B BRIP1 E2F8 HMGB2 CDK1 NUSAP1 UBE2C BIRC5 TPX2 TOP2A
    NDC80 CKS2 NUF2 CKS1B MKI67 TMPO CENPF TACC3 FAM64A PIMREG SMC4 CCNB2 CKAP2L CKAP2 AURKB BUB1
    KIF11 ANP32E TUBB4B GTSE1 KIF20B HJURP CDCA3 HN1 JPT1 CDC20 TTK CDC25C KIF2C RANGAP1 NCAPD2
    DLGAP5 CDCA2 CDCA8 ECT2 KIF23 HMMR AURKA PSRC1 ANLN LBR CKAP5 CENPE CTCF NEK2 G2E3 GAS2L3 CBX5
    CENPA
"""

# Of the 161 genes of MSigDB's hallmark set of apoptosis (Liberzon et al. 2015, Cell Systems 1:417)
# those that carry death out or call for it in the cell itself: caspases, killers of the BCL-2
# family, what mitochondria let go and what cuts DNA, death receptors and their switch, and what p53
# and stress turn on. Left out are genes of survival, ligands that kill other cells, and genes of
# division (HMGB2 and TOP2A are in both sets).
_APOPTOSIS = """
    CASP2 CASP3 CASP6 CASP7 CASP8 CASP9 BAX BID BIK BMF BCL2L11 PMAIP1 BNIP3L AIFM3 DIABLO DFFA FAS
    TNFRSF12A CYLD CDKN1A GADD45A GADD45B BTG2 DDIT3 ATF3 PDCD4 TXNIP
"""

PROLIFERATION, APOPTOSIS = (tuple(names.split()) for names in (_PROLIFERATION, _APOPTOSIS))
