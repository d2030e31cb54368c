"""Bash scripts in the style that people publish, whose every word bash itself can tell."""

from __future__ import annotations

SCRIPTS = {
    "variables at the head": r"""
#!/bin/bash
# Model
pretrained_model="./sd-models/model.safetensors" # base model path
train_data_dir="./train/aki"
resolution="512,768"   # w,h
network_dim=32
network_alpha=$network_dim
is_v2_model=0
export HF_HOME="huggingface"
extArgs=()
launchArgs=()
if [[ $is_v2_model == 1 ]]; then extArgs+=("--v2"); else extArgs+=("--clip_skip 2"); fi
if [ $network_dim -gt 16 ] && [ "$resolution" != "" ]; then extArgs+=(--seed=1); fi
python -m accelerate.commands.launch ${launchArgs[@]} --num_cpu_threads_per_process=8 "./sd-scripts/train_network.py" \
  --pretrained_model_name_or_path=$pretrained_model \
  --train_data_dir="$train_data_dir" --resolution=$resolution \
  --network_dim=$network_dim --network_alpha=${network_alpha} ${extArgs[@]}
""",
    "a list of arguments": r"""
ARGS=(
  --pretrained_model_name_or_path "/m/a b.safetensors"   # with a blank
  --caption_prefix='it is "so"'
  # a comment in the list
  --network_args "algo=lokr" "preset=full"
)
ARGS+=(--seed 42)
ARGS[0]=--pretrained_model
accelerate launch --num_processes 1 sdxl_train_network.py "${ARGS[@]}" "$@" --last
echo "${#ARGS[@]} arguments"
python train_network.py "${ARGS[*]}" ${ARGS[1]} "${ARGS[@]:2:2}"
""",
    "functions": r"""
never() { accelerate launch train_network.py --never; }
train() {
  local dim=$1; shift
  local name="run_$dim"
  accelerate launch train_network.py --network_dim="$dim" --output_name "$name" "$@"
}
function other {
  DIM=5
  return 0
  DIM=6
}
name=outside
train 16 --a "b c"
train "32"
other
accelerate launch train_network.py --dim=$DIM --name=$name
""",
    "choices": r"""
MODEL=sdxl
case "$MODEL" in
  sd15|sd1*) SCRIPT=train_network.py; RES=512 ;;
  sdxl) SCRIPT=sdxl_train_network.py; RES=1024 ;;
  *) echo "unknown"; exit 1 ;;
esac
VAE=""
OPT=AdamW8bit
if [ -n "$VAE" ]; then V="--vae=$VAE"; elif [[ $OPT == Adam* && ! -z $RES ]]; then V="--opt $OPT"; else V=; fi
[ "$RES" -ge 1024 ] && EXTRA="--no_half_vae" || EXTRA="--clip_skip=2"
test "$MODEL" = sd15 || BIG=1
accelerate launch $SCRIPT --resolution "$RES,$RES" $V $EXTRA --big=$BIG
""",
    "expansions": r"""
OUT=/out/my.model.safetensors/
STEP=$((3 * (10 + 2) / 4))
A=${OUT%/}
B=${A##*/}
C=${B%%.*}
D=${B/model/style}
E=${NOWHERE_AT_ALL:-"a default"}
F=${OUT:+yes}
G=${#B}
H=${B:3:5}
I=${C^^}
: ${J:=given}
accelerate launch train_network.py "$A" "$B" "$C" "$D" "$E" $E "$F" $G "$H" "$I" $J --steps=$STEP "${NOWHERE_AT_ALL-x}"
accelerate launch train_network.py "${A//\//_}" ${B#my.} "${B%.*}" $'tab\tend' "a\$b \"q\" \x" 'single $A' \$A a\ b
""",
    "appended text": r"""
CMD="accelerate launch train_network.py"
CMD+=" --a=1"
CMD="$CMD --b 2"
OPTS=
OPTS="$OPTS --c"
$CMD $OPTS
eval "$CMD --name='x y'"
bash -c "accelerate launch train_network.py --inner"
export DIM=4; OTHER=5
bash -c 'accelerate launch train_network.py --dim=$DIM --other=${OTHER:-none}'
env bash -c 'accelerate launch train_network.py --env=$DIM'
""",
    "here-documents": r"""
cat > notes.txt <<EOF
don't
resolution=512
EOF
cat <<'END' > other.txt
accelerate launch train_network.py --not
END
accelerate launch train_network.py --resolution=${resolution:-768} <<< "text" # the end \
accelerate launch train_network.py --second >> log.txt 2>&1 | tee out.log
""",
    "one value, no value": r"""
for DIM in 16; do accelerate launch train_network.py --dim=$DIM; done
for DIM in; do accelerate launch train_network.py --never; done
while [ $# -gt 0 ]; do DIM=$1; shift; done
for extra in "$@"; do DIM=$extra; done
(cd / && DIM=7; accelerate launch train_network.py --inside=$DIM)
accelerate launch train_network.py --outside=$DIM
if ! [ "$DIM" = 16 ]; then accelerate launch train_network.py --wrong; fi
{ DIM=8; }
accelerate launch train_network.py --group=$DIM; exit 0
accelerate launch train_network.py --after
""",
    "other separators": r"""
A="x y,z"
IFS=$'\n\t'
accelerate launch train_network.py $A
IFS=,
accelerate launch train_network.py $A "$A"
unset IFS
N=(4 8); for i in "${!N[@]}"; do :; done
accelerate launch train_network.py $A "${!N[@]}"
""",
    "odd writing": r"""
A=1 B=2
A=3 accelerate launch train_network.py --a=$A --b=$B
function f() { accelerate launch train_network.py "$#" "$1"; }; f "x  y" z
accelerate launch train_network.py --x=1 \
  --y="a\
b" --z=a#b  --w='#'   # comment with ' quote
true && accelerate launch train_network.py --and ; false || accelerate launch train_network.py --or
if true; then :; fi; accelerate launch train_network.py -- "" ''
N=5; (( N > 3 )) && accelerate launch train_network.py --n=$N
set -- one "two three"
accelerate launch train_network.py "$@" $2 "$*" $#
unset A; accelerate launch train_network.py "${A:-gone}"
accelerate launch train_network.py ~/x --at=~ "$(echo hi there)" $(dirname /a/b/c) $(basename /a/b.txt .txt)
declare -A NAMES=([sdxl]=big [sd15]=small); KEY=sdxl
accelerate launch train_network.py "${NAMES[$KEY]}" "${NAMES[sd15]}"
i=1; LIST=(a b c); accelerate launch train_network.py ${LIST[i]} ${LIST[$i+1]:-} ${LIST[-1]}
""",
}
