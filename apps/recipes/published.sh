#!/usr/bin/env bash
# The published table again: its five rows as five trainings with the published hyperparameters,
# each tested, and one summary beside the published figures. On a full NIH download, or rehearsed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${PNEUMA_BIN:-$here/../../build/bin}

usage() {
  cat <<'END'
usage: published.sh --data DIR --pretrained FILE [--output DIR] [--row NAME]... [-- FLAG...]
       published.sh --rehearse [--shared DIR] [--output DIR] [--row NAME]... [-- FLAG...]
  --data DIR         the NIH's files: images/ (112,120 PNGs) and Data_Entry_2017_v2020.csv
  --pretrained FILE  ImageNet weights of a ResNet-50: MXNet's resnet-50-0000.params, or torchvision's
                     as .safetensors (README, "From ImageNet's weights")
  --output DIR       everything goes below it (default: published); rows that stand there are kept,
                     one that was cut short goes on
  --row NAME         plain_224 weighted_224 mixed_224 weighted_896 mixed_896 (default: all)
  --rehearse         the same commands cut short, on small real files: DIR/data/nih_256 for the rows
                     at 224, DIR/data/nih_1024 for those at 896 (--shared DIR, default ../shared)
  --no_synthetic     leave out the second run of each row, whose pictures cost nothing
  -- FLAG...         further flags of train_cxr, for every row: --device cuda, --epochs 2 ...
The published rows at 896 ran on two hosts; here every row runs on one, and says so.
END
}

die() {
  local code=$1
  shift
  echo "published.sh: $*" >&2
  exit "$code"
}

# What a row changes: image_shape, mini_batch_size, resize, learning_rate, use_weighted_loss,
# precision_dtype, hosts.
declare -A rows=(
  [plain_224]='3,224,224 256 256 0.0005 0 float32 1'
  [weighted_224]='3,224,224 256 256 0.0005 1 float32 1'
  [mixed_224]='3,224,224 256 256 0.0005 1 float16 1'
  [weighted_896]='3,896,896 64 none 0.00025 1 float32 2'
  [mixed_896]='3,896,896 64 none 0.00025 1 float16 2'
)
order=(plain_224 weighted_224 mixed_224 weighted_896 mixed_896)

data='' pretrained='' output=published shared=$here/../../../shared rehearse='' synthetic=1 chosen=()
while (($#)); do
  case $1 in
    --data | --pretrained | --output | --row | --shared) (($# > 1)) || die 2 "$1 wants a value" ;;&
    --data) data=$2 && shift ;;
    --pretrained) pretrained=$2 && shift ;;
    --output) output=$2 && shift ;;
    --shared) shared=$2 && shift ;;
    --row) [[ -n ${rows[$2]:-} ]] || die 2 "--row $2: one of ${order[*]}"
      chosen+=("$2") && shift ;;
    --rehearse) rehearse=1 ;;
    --no_synthetic) synthetic='' ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) die 2 "unknown word $1; see published.sh --help" ;;
  esac
  shift
done
((${#chosen[@]})) || chosen=("${order[@]}")
[[ -x $bin/train_cxr ]] || die 4 "there is no $bin/train_cxr; run ./pneuma build, or set PNEUMA_BIN"
[[ -n $rehearse || -n $data ]] || die 2 "--data is missing (or --rehearse); see published.sh --help"
[[ -n $rehearse || -f $pretrained ]] ||
  die 2 "--pretrained '$pretrained': no such file; the published rows start from ImageNet's weights (README)"
[[ -z $rehearse || -d $shared/data/nih_256 ]] || die 3 "--shared $shared: it has no data/nih_256"
mkdir -p "$output"

# prepare DATA FOLDER: the published split, its lists, and records with the files' own bytes.
prepare() {
  local data=$1 folder=$2 labels set
  [[ -f $folder/done ]] && return
  labels=$(compgen -G "$data/Data_Entry_2017*.csv*" | head -1) || true
  [[ -n $labels ]] || die 3 "$data: no Data_Entry_2017*.csv in it"
  [[ -d $data/images ]] || die 3 "$data: no images/ in it; move the images of all images_*/images into one folder"
  rm -rf "$folder"
  "$bin/prepare_cxr" split --labels "$labels" --split published --output "$folder"
  for set in train val test; do
    "$bin/prepare_cxr" list --csv "$folder/${set}data.csv" --output "$folder/$set.lst"
  done
  if [[ -z $rehearse ]]; then # the published split of 112,120 rows
    for set in train:87306 val:7615 test:17197; do
      [[ $(wc -l <"$folder/${set%:*}.lst") == "${set#*:}" ]] ||
        die 3 "$labels: its ${set%:*} set has $(wc -l <"$folder/${set%:*}.lst") images, the published split of the 112,120 rows has ${set#*:}; give the whole Data_Entry_2017_v2020.csv"
    done
  fi
  for set in train val; do
    "$bin/prepare_cxr" record "$folder/$set.lst" "$data" "$folder/$set.rec" --pack_label
  done
  touch "$folder/done"
}

# hyperparameters ROW: the published set of a row, as a training container gets it. 80000 stands
# there, too, although the split has 87,306; the program says so.
hyperparameters() {
  read -r shape batch resize rate weighted dtype _ <<<"${rows[$1]}"
  local epochs=100 resize_line=''
  if [[ -n $rehearse ]]; then
    epochs=1 batch=8
    [[ $shape == 3,224,224 ]] || batch=2
  fi
  [[ $resize == none ]] || resize_line="\"resize\": \"$resize\", "
  cat <<END
{"num_layers": "50", "use_pretrained_model": "1", "image_shape": "$shape", "num_classes": "14",
 "mini_batch_size": "$batch", $resize_line"epochs": "$epochs", "learning_rate": "$rate",
 "optimizer": "adam", "num_training_samples": "80000", "use_weighted_loss": "$weighted",
 "augmentation_type": "crop_color_transform", "precision_dtype": "$dtype", "multi_label": "1"}
END
}

# train ROW FOLDER FLAG...: goes on with a run that was cut short.
train() {
  local row=$1 run=$2
  shift 2
  if [[ -f $run/last.state ]]; then
    "$bin/train_cxr" --resume "$run"
  else
    rm -rf "$run"
    hyperparameters "$row" >"$output/$row.json"
    "$bin/train_cxr" --hyperparameters "$output/$row.json" --train "$set/train.rec" \
      --validation "$set/val.rec" --pretrained "$pretrained" --output "$run" "$@"
  fi
}

cut=()
[[ -z $rehearse ]] || cut=(--max_steps 6)
for row in "${chosen[@]}"; do
  read -r shape _ _ _ _ _ hosts <<<"${rows[$row]}"
  images=$data
  [[ -z $rehearse ]] || { [[ $shape == 3,224,224 ]] && images=$shared/data/nih_256 || images=$shared/data/nih_1024; }
  set=$output/data_${shape##*,}
  [[ -n $rehearse ]] || set=$output/data # one for both resolutions
  prepare "$images" "$set"
  if [[ -n $rehearse && ! -f $pretrained ]]; then # stands in for ImageNet's weights
    pretrained=$output/start.safetensors
    [[ -f $pretrained ]] || {
      "$bin/prepare_cxr" phantoms --output "$output/phantoms" --patients 20 --size 72 >/dev/null
      "$bin/train_cxr" --data "$output/phantoms" --output "$output/start" --arch v2 --num_layers 50 \
        --image_shape 3,64,64 --mini_batch_size 4 --max_steps 1 --save_init "$pretrained" >/dev/null
    }
  fi
  echo "published.sh: $row$( ((hosts == 1)) || echo ", published on $hosts hosts, here on one")"
  run=$output/$row
  if [[ ! -f $run/test/auc.json ]]; then
    train "$row" "$run" "${cut[@]}" "$@"
    "$bin/eval_cxr" "$run/best.safetensors" --images "$images" --lst "$set/test.lst" --output "$run/test"
  fi
  if [[ -n $synthetic && ! -f $run/synthetic/best.safetensors ]]; then
    rm -rf "$run/synthetic"
    train "$row" "$run/synthetic" "${cut[@]}" "$@" --synthetic 1 --epochs 1
  fi
done
python3 "$here/summary.py" "$output" "${order[@]}" | tee "$output/summary.md"
