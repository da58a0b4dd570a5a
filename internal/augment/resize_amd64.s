#include "textflag.h"

// func sumRowsAVX2(out, from *uint8, stride int, weights *int32, taps, blocks int)
//
// Sixteen values at a time: Y0 and Y1 are their sums, Y15 is 2^21 in each.
TEXT ·sumRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ from+8(FP), SI
	MOVQ stride+16(FP), DX
	MOVQ weights+24(FP), BX
	MOVQ taps+32(FP), CX
	MOVQ blocks+40(FP), R8
	MOVL $0x200000, AX
	MOVQ AX, X15
	VPBROADCASTD X15, Y15

block:
	VMOVDQA Y15, Y0
	VMOVDQA Y15, Y1
	MOVQ    SI, R9
	MOVQ    BX, R10
	MOVQ    CX, R11

tap:
	VPBROADCASTD (R10), Y2
	VPMOVZXBD    (R9), Y3
	VPMOVZXBD    8(R9), Y4
	VPMULLD      Y2, Y3, Y3
	VPMULLD      Y2, Y4, Y4
	VPADDD       Y3, Y0, Y0
	VPADDD       Y4, Y1, Y1
	ADDQ         DX, R9
	ADDQ         $4, R10
	DECQ         R11
	JNZ          tap

	// Packing with saturation cuts to 0..255; it works on halves, so the order
	// of the quarters is mended between.
	VPSRAD       $22, Y0, Y0
	VPSRAD       $22, Y1, Y1
	VPACKSSDW    Y1, Y0, Y0
	VPERMQ       $0xd8, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKUSWB    X1, X0, X0
	VMOVDQU      X0, (DI)
	ADDQ         $16, SI
	ADDQ         $16, DI
	DECQ         R8
	JNZ          block

	VZEROUPPER
	RET

// func sumPairsAVX2(upper, lower *uint8, pairs *uint64, start, end *int, weights *int32, size, n int)
//
// One output pixel of both rows at a time: the lanes of Y0 are the sums of red,
// green, blue and nothing of the upper row, then of the lower one. Each store
// writes a byte too many, which the next pixel overwrites.
TEXT ·sumPairsAVX2(SB), NOSPLIT, $0-64
	MOVQ upper+0(FP), DI
	MOVQ lower+8(FP), R8
	MOVQ pairs+16(FP), SI
	MOVQ start+24(FP), R12
	MOVQ end+32(FP), R13
	MOVQ weights+40(FP), BX
	MOVQ size+48(FP), DX
	MOVQ n+56(FP), CX
	SHLQ $2, DX
	MOVL $0x200000, AX
	MOVQ AX, X15
	VPBROADCASTD X15, Y15

pixel:
	VMOVDQA Y15, Y0
	MOVQ    (R12), R10
	MOVQ    (R13), R11
	SUBQ    R10, R11
	LEAQ    (SI)(R10*8), R9
	MOVQ    BX, R10

tap:
	VPBROADCASTD (R10), Y2
	VPMOVZXBD    (R9), Y3
	VPMULLD      Y2, Y3, Y3
	VPADDD       Y3, Y0, Y0
	ADDQ         $8, R9
	ADDQ         $4, R10
	DECQ         R11
	JNZ          tap

	VPSRAD       $22, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKSSDW    X1, X0, X0
	VPACKUSWB    X0, X0, X0
	VMOVD        X0, (DI)
	VPEXTRD      $1, X0, (R8)
	ADDQ         $3, DI
	ADDQ         $3, R8
	ADDQ         $8, R12
	ADDQ         $8, R13
	ADDQ         DX, BX
	DECQ         CX
	JNZ          pixel

	VZEROUPPER
	RET
